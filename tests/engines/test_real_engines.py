"""Real engines, started by `benchsuite run` and attached to: lengths, caches, identities, errors, the end.

`python scripts/engines.py` makes the environments that they run in; without one its tests are skipped.
"""

import http.client
import json
import os
import subprocess
import sys
import time
import uuid
from urllib.parse import urlsplit

import psutil
import pytest

from benchsuite.driver import backends, load
from benchsuite.errors import TargetError
from benchsuite.servers.launch import launched, prepared, resolve_model
from benchsuite.testing import request as planned
from benchsuite.testing import tape
from benchsuite.types import Noun, Target

pytestmark = [pytest.mark.engine, pytest.mark.slow]

MARK = "BENCHSUITE_TEST_MARK"
"""An environment variable that an engine inherits: by it a test finds what is left of what it started."""
END_S = 10.0


class Engine(Noun, frozen=True, kw_only=True):
    """What is known of an engine. `block_tokens`: what it caches is a multiple; None: it tells nothing of it.

    `shared_when_cold`: most tokens of its template's beginning that cold requests have in common.
    `reuse`: it keeps connections open. `context` and `slots`: what it says when started for two at once.
    """

    backend: str
    model: str
    server: str
    settings: dict[str, str] = {}
    block_tokens: int | None = 1
    shared_when_cold: int = 0
    context: int | None = None
    slots: int | None = None
    reuse: bool
    unknown_model: str | None = None


ENGINES = (
    Engine(backend="local", model="shape:50m", server="llama.cpp", context=1024, slots=2, reuse=False),
    Engine(
        backend="vllm",
        model="shape:50m",
        server="vLLM",
        settings={"eager": "on"},
        block_tokens=128,
        context=1024,
        slots=2,
        reuse=True,
        unknown_model="not_found",
    ),
    Engine(
        backend="mlx",
        model="shape:5m",
        server="MLX",
        shared_when_cold=11,
        reuse=False,
        unknown_model="not_found",
    ),
    Engine(
        backend="transformers",
        model="shape:5m",
        server="transformers",
        block_tokens=None,
        reuse=True,
        unknown_model="bad_request",
    ),
)
OFFERED = [pytest.param(engine, id=engine.backend) for engine in ENGINES]


def ready(engine):
    """The launch and its Python; skips where the engine isn't there."""
    target = Target(backend=engine.backend, url="", model=engine.model, engine=engine.settings)
    try:
        return prepared(load(engine.backend).launch(target), engine.backend)
    except TargetError as missing:
        pytest.skip(f"{engine.backend} isn't here; `python scripts/engines.py` makes it: {missing}")


@pytest.fixture(scope="module", params=OFFERED)
def running(request):
    """One server for all tests that attach: (engine, URL)."""
    engine = request.param
    launch, python = ready(engine)
    model = resolve_model(engine.model, launch.model_form)
    with launched(launch, model=model, slots=2, context=1024, python=python) as server:
        yield engine, server.url


def measured(store, *words, **variables):
    """Manifest and records of one run; on a busy machine it may be invalid, lengths hold all the same."""
    found = []
    for line in (("run", *words), ("show", "latest", "--format", "json"), ("show", "latest")):
        more = ("--format", "jsonl") if line == ("show", "latest") else ()
        done = subprocess.run(
            [sys.executable, "-m", "benchsuite", *line, *more],
            env={**os.environ, "BENCHSUITE_STORE": str(store), **variables},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode in (0, 3), done.stdout + done.stderr
        found.append(done.stdout)
    return json.loads(found[1])["manifest"], [json.loads(line) for line in found[2].splitlines()]


def load_of(prompt, output, requests, *more):
    lengths = ("--prompt-tokens", f"{prompt}", "--output-tokens", f"{output}")
    return (*lengths, "--requests", f"{requests}", "--trials", "1", *more)


def check(engine, records, prompt, output):
    assert {record["outcome"] for record in records} == {"ok"}
    assert {record["output_tokens"] for record in records} == {output}
    assert all(abs(record["prompt_tokens"] - prompt) <= 2 for record in records)
    # One event may carry several tokens where the engine is ahead of its own server.
    assert all(output // 2 <= len(record["gaps_us"]) + 1 <= output for record in records)


def check_cold(engine, cached):
    if engine.block_tokens is None:
        assert set(cached) == {None}
    else:
        assert max(cached) <= engine.shared_when_cold


def left(mark):
    """Processes that carry the mark, after a moment to end."""
    until = time.monotonic() + END_S
    while found := [process.pid for process in psutil.process_iter() if _mark(process) == mark]:
        if time.monotonic() > until:
            return found
        time.sleep(0.1)
    return []


def _mark(process):
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def exchanged(call, url):
    """The answer to one call, as a tape heard in one read."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request(call.method, call.path, call.body or None, call.headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return tape(body, status=answer.status, headers=answer.getheaders())


@pytest.mark.parametrize("engine", OFFERED)
def test_it_is_started_measured_and_gone(engine, tmp_path):
    ready(engine)
    mark = uuid.uuid4().hex
    settings = [word for name, value in engine.settings.items() for word in ("--engine", f"{name}={value}")]
    words = ("--backend", engine.backend, "--launch", "--model", engine.model, *settings)
    asked = load_of(64, 16, 6, "--concurrency", "1,2")
    manifest, records = measured(tmp_path, *words, *asked, **{MARK: mark})
    assert not left(mark)
    assert (manifest["attached"], manifest["model"]) == (False, engine.model)
    identity = manifest["identity"]
    assert identity["server"] == engine.server
    # The embedded llama.cpp doesn't say its build.
    assert bool(identity["version"]) == (engine.backend != "local")
    assert (identity["context_tokens"], identity["slots"]) == (engine.context, engine.slots)
    assert manifest["launch_seconds"] > 0
    reuse = {worker["reuse"] for trial in manifest["trials"] for worker in trial["workers"]}
    assert reuse == {engine.reuse}
    assert len(records) == 12
    check(engine, records, 64, 16)
    check_cold(engine, [record["cached_tokens"] for record in records])


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_it_is_attached_to(running, endpoint, tmp_path):
    engine, url = running
    words = ("--backend", engine.backend, "--url", url, "--endpoint", endpoint)
    manifest, records = measured(tmp_path, *words, *load_of(64, 16, 4, "--concurrency", "2"))
    assert manifest["attached"]
    assert manifest["identity"]["server"] == engine.server
    check(engine, records, 64, 16)


def test_a_repeated_prompt_comes_from_its_cache(running, tmp_path):
    engine, url = running
    words = ("--backend", engine.backend, "--url", url, "--cache", "warm")
    _, records = measured(tmp_path, *words, *load_of(300, 4, 4, "--concurrency", "1"))
    check(engine, records, 300, 4)
    cached = {record["cached_tokens"] for record in records}
    if engine.block_tokens is None:
        assert cached == {None}
    else:
        prompt = records[0]["prompt_tokens"]
        assert min(cached) >= (prompt - 4) // engine.block_tokens * engine.block_tokens
        assert max(cached) < prompt


def test_cold_requests_share_at_most_the_templates_beginning(running):
    engine, url = running
    driver = load(engine.backend)
    target = Target(backend=engine.backend, url=url, model=_name(driver, url))
    texts = [f"{first} " + "word " * 300 for first in ("able", "about")]
    calls = [driver.encode(planned(text, output_tokens=2), target) for text in texts]
    replies = [driver.decode(exchanged(call, url)) for call in calls]
    assert [reply.output_tokens for reply in replies] == [2, 2]
    check_cold(engine, [reply.cached_tokens for reply in replies])


def test_only_its_own_drivers_know_it(running):
    engine, url = running
    own = {"local", "llamacpp"} if engine.backend == "local" else {engine.backend}
    taken = set()
    # A vendor's own address says who it is, and a specification's whatever it says.
    open_to_all = {"http"} | {name for name, entry in backends().items() if ".presets:" in entry.value}
    for name in backends().keys() - open_to_all:
        driver = load(name)
        calls = driver.identify(Target(backend=name, url=url))
        if driver.identity(tuple(exchanged(call, url) for call in calls)):
            taken.add(name)
    assert taken == {"openai"} | own


def test_errors_have_kinds(running):
    engine, url = running
    driver = load(engine.backend)
    if engine.unknown_model:
        target = Target(backend=engine.backend, url=url, model="nobody/such-model")
        reply = driver.decode(exchanged(driver.encode(planned("hello"), target), url))
        assert reply.error_kind == engine.unknown_model
    if engine.context:
        target = Target(backend=engine.backend, url=url, model=_name(driver, url))
        long = planned("word " * 2 * engine.context)
        assert driver.decode(exchanged(driver.encode(long, target), url)).error_kind == "context_length"


def _name(driver, url):
    calls = driver.identify(Target(backend=driver.name, url=url))
    identity = driver.identity(tuple(exchanged(call, url) for call in calls))
    return identity.models[0] if identity.models else ""


def test_kill_9_of_benchsuite_leaves_nothing_of_vllm(tmp_path):
    engine = next(one for one in ENGINES if one.backend == "vllm")
    ready(engine)
    mark = uuid.uuid4().hex
    words = ("run", "--backend", "vllm", "--launch", "--model", engine.model, "--engine", "eager=on")
    with (tmp_path / "told").open("w+") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchsuite", *words, "--duration", "60"],
            env={**os.environ, "BENCHSUITE_STORE": str(tmp_path / "store"), MARK: mark},
            stdout=told,
            stderr=told,
        )
        until = time.monotonic() + 120
        while "trial 1 of" not in (tmp_path / "told").read_text() and time.monotonic() < until:
            assert process.poll() is None, (tmp_path / "told").read_text()
            time.sleep(0.2)
        family = [one for one in psutil.process_iter() if _mark(one) == mark]
        assert sum("vllm" in " ".join(one.cmdline()).lower() for one in family) > 1
        process.kill()
        process.wait()
    assert not left(mark)
