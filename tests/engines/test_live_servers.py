"""Servers that can't be started here are measured where they are: local ones, and hosted ones by key.

Each is skipped with what to set. `BENCHSUITE_TEST_<BACKEND>_URL` says where a local server is, `…_MODEL`
which of its models; a hosted API takes its vendor's own key variable and `…_MODEL`. A door takes about a
dozen short requests.
"""

import os

import msgspec
import pytest

from benchsuite.driver import load
from benchsuite.engine.endpoint import resolve
from benchsuite.engine.exchange import ask
from benchsuite.testing import request as planned
from tests.engines.live import SELF_HOSTED, Absent, doors, found, hosted
from tests.engines.test_real_engines import load_of, measured

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PROMPT, OUTPUT, REQUESTS = 200, 16, 3
"""Longer than most templates; OpenAI's Responses refuse less than 16 tokens."""
ROOM = 0.25
"""How far a mean prompt may be off where words can't be fitted exactly."""
SAY_NO_VERSION = frozenset({"lmstudio"})
ANY_NAME = frozenset({"tgi", "sglang", "tensorrt", "llamacpp"})
"""Engines of one model, which may answer by whatever name they are called."""
UNKNOWN = frozenset({"not_found", "bad_request", "auth"})
"""What servers call a model that they haven't got: some say that one has no access to it."""

BACKENDS = (*SELF_HOSTED, *hosted())
KNOWN = {}


def live(backend):
    """The server, asked once; skips where it isn't there."""
    if backend not in KNOWN:
        try:
            KNOWN[backend] = found(backend, os.environ)
        except Absent as absent:
            KNOWN[backend] = absent
    if isinstance(KNOWN[backend], Absent):
        pytest.skip(str(KNOWN[backend]))
    return KNOWN[backend]


def asked(server, *calls):
    return ask(resolve(server.target, server.connection), server.target, calls)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_says_who_it_is(backend):
    server = live(backend)
    assert server.identity.server
    if server.hosted:
        return
    assert bool(server.identity.version) or backend in SAY_NO_VERSION
    assert server.model in server.identity.models


@pytest.mark.parametrize("backend", SELF_HOSTED)
def test_no_other_driver_takes_it_for_its_own(backend):
    server = live(backend)
    for other in SELF_HOSTED:
        if other != backend:
            driver = load(other)
            tapes = asked(server, *driver.identify(server.target))
            assert driver.identity(tapes) is None, other


@pytest.mark.parametrize(("backend", "door"), [(name, door) for name in BACKENDS for door in doors(name)])
def test_each_door_is_measured(backend, door, tmp_path):
    server = live(backend)
    words = ("--backend", backend, "--url", server.url, "--model", server.model, "--attach", "--yes")
    several = ("--endpoint", door) if len(server.doors) > 1 else ()
    asked_for = load_of(PROMPT, OUTPUT, REQUESTS, "--concurrency", "1")
    manifest, records = measured(tmp_path, *words, *several, *asked_for)
    assert manifest["attached"]
    assert manifest["identity"]["server"] == server.identity.server
    assert [record["outcome"] for record in records] == ["ok"] * REQUESTS
    exact = load(backend).capabilities.exact_output
    for record in records:
        assert abs(record["prompt_tokens"] - PROMPT) <= (2 if exact else ROOM * PROMPT)
        assert (OUTPUT if exact else 1) <= record["output_tokens"] <= OUTPUT
        assert len(record["gaps_us"] or ()) < record["output_tokens"] + 1
        assert record["end_ns"] > record["sent_ns"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_that_nobody_has_is_an_error(backend):
    server = live(backend)
    driver = load(backend)
    for door in server.doors if backend not in ANY_NAME else server.doors[:1]:
        options = {"endpoint": door} if len(server.doors) > 1 else {}
        target = msgspec.structs.replace(server.target, model="nobody/such-model", options=options)
        (tape,) = asked(server, driver.encode(planned("hello", output_tokens=OUTPUT), target))
        reply = driver.decode(tape)
        if backend in ANY_NAME and not reply.error_kind:
            assert reply.complete
        else:
            assert reply.error_kind in UNKNOWN, (door, reply.error_message)
