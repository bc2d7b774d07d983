"""What real engines do beside and around the measured requests: counting, metrics, caches, doors, reasoning.

`python scripts/engines.py` makes the environments that they run in; without one its tests are skipped.
"""

import http.client
from urllib.parse import urlsplit

import msgspec
import pytest

from benchsuite.driver import HasMetrics, ResetsCache, Tokenizes, load
from benchsuite.errors import TargetError
from benchsuite.servers.launch import launched, prepared, resolve_model
from benchsuite.testing import request as planned
from benchsuite.testing import tape
from benchsuite.types import Call, Noun, Target

pytestmark = [pytest.mark.engine, pytest.mark.slow]


class Engine(Noun, frozen=True, kw_only=True):
    """What is known of an engine. `block_tokens`: what it caches is a multiple of it; None: it tells nothing.

    `words`: length of long prompts. `metric`: a name on its page of metrics. `counts`: what it can count by
    itself, a `text` or a whole `message`. `resets`: it empties its cache when asked.
    """

    backend: str
    model: str
    settings: dict[str, str] = {}
    block_tokens: int | None = 1
    words: int = 300
    metric: bytes = b""
    counts: str = ""
    resets: bool = False


ENGINES = (
    Engine(backend="local", model="shape:5m", metric=b"llamacpp:prompt_tokens_total", counts="text"),
    Engine(
        backend="vllm",
        model="shape:5m",
        settings={"eager": "on"},
        block_tokens=128,
        metric=b"vllm:num_requests_running",
        counts="message",
        resets=True,
    ),
    Engine(backend="mlx", model="shape:5m", words=60),
    Engine(backend="transformers", model="shape:5m", block_tokens=None, words=60),
)


@pytest.fixture(scope="module", params=[pytest.param(engine, id=engine.backend) for engine in ENGINES])
def running(request):
    """One server for all tests: (engine, driver, target)."""
    engine = request.param
    driver = load(engine.backend)
    asked = Target(backend=engine.backend, url="", model=engine.model, engine=engine.settings)
    try:
        launch, python = prepared(driver.launch(asked), engine.backend)
    except TargetError as missing:
        pytest.skip(f"{engine.backend} isn't here; `python scripts/engines.py` makes it: {missing}")
    model = resolve_model(engine.model, launch.model_form)
    with launched(launch, model=model, slots=2, context=1024, python=python) as server:
        yield engine, driver, Target(backend=engine.backend, url=server.url, model=model.name)


def exchanged(call, url):
    """The answer to one call, as a tape heard in one read."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    connection.request(call.method, call.path, call.body or None, call.headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return tape(body, status=answer.status, headers=answer.getheaders())


def replied(driver, target, text, *, reasoning="", **asked):
    planned_request = planned(text, output_tokens=3, **asked)
    if reasoning:
        planned_request = msgspec.structs.replace(planned_request, reasoning=reasoning)
    reply = driver.decode(exchanged(driver.encode(planned_request, target), target.url))
    assert not reply.error_kind, reply.error_message
    return reply


def through(target, door):
    return msgspec.structs.replace(target, options={"endpoint": door})


def prompt(engine, first, last=""):
    return f"{first} " + "word " * engine.words + last


def test_every_door_gives_the_asked_output(running):
    _, driver, target = running
    for door in driver.capabilities.endpoints:
        reply = replied(driver, through(target, door), "able baker")
        assert (reply.output_tokens, reply.finish_reason) == (3, "length"), door
        assert 1 <= len(reply.texts) <= 3


def test_tokens_are_counted_as_the_server_charges_them(running):
    engine, driver, target = running
    assert isinstance(driver, Tokenizes) == bool(engine.counts)
    if not isinstance(driver, Tokenizes):
        return
    text = "able baker charlie, żółć"
    door = through(target, "completions")
    counted = driver.token_count(exchanged(driver.tokenize(text, door), target.url))
    assert counted == replied(driver, door, text).prompt_tokens
    if engine.counts == "message":
        counted = driver.token_count(exchanged(driver.tokenize(text, target), target.url))
        assert counted == replied(driver, target, text).prompt_tokens


def test_its_page_of_metrics_is_there(running):
    engine, driver, target = running
    assert isinstance(driver, HasMetrics) == bool(engine.metric)
    if isinstance(driver, HasMetrics):
        page = exchanged(driver.metrics(target), target.url)
        assert page.status == 200 and engine.metric in page.body


def test_an_emptied_cache_is_empty(running):
    engine, driver, target = running
    assert isinstance(driver, ResetsCache) == engine.resets
    if not isinstance(driver, ResetsCache):
        return
    text = prompt(engine, "reset")
    replied(driver, target, text, cache="warm")
    assert replied(driver, target, text, cache="warm").cached_tokens >= 256
    assert exchanged(driver.reset_cache(target), target.url).status < 300
    assert replied(driver, target, text, cache="warm").cached_tokens == 0


def test_shared_prompts_find_their_beginning(running):
    engine, driver, target = running
    first = replied(driver, target, prompt(engine, "shared", "one"), cache="shared")
    second = replied(driver, target, prompt(engine, "shared", "two"), cache="shared")
    if engine.block_tokens is None:
        assert second.cached_tokens is None
        return
    assert first.cached_tokens < engine.words // 2
    least = engine.words // engine.block_tokens * engine.block_tokens
    assert least <= second.cached_tokens < second.prompt_tokens


def test_a_cold_prompt_finds_nothing_of_its_own_repetition_where_a_request_can_say_so(running):
    engine, driver, target = running
    if engine.backend not in ("vllm", "local"):
        pytest.skip("its cold prompts differ by their words alone")
    text = prompt(engine, "cold")
    replied(driver, target, text, cache="warm")
    assert replied(driver, target, text, cache="cold").cached_tokens == 0


def test_words_about_reasoning_break_nothing(running):
    _, driver, target = running
    assert driver.capabilities.reasoning
    for reasoning in ("off", "low", "high"):
        reply = replied(driver, target, "able baker", reasoning=reasoning)
        assert reply.output_tokens == 3


def test_a_prompt_of_token_ids_counts_them_where_it_is_said_to(running):
    """Through completions; who takes no ids refuses them or counts something else."""
    _, driver, target = running
    ids = list(range(300, 340))
    body = {"model": target.model, "prompt": ids, "max_tokens": 1, "stream": False}
    call = Call(
        method="POST",
        path="/v1/completions",
        headers={"Content-Type": "application/json"},
        body=msgspec.json.encode(body),
    )
    heard = exchanged(call, target.url)
    counted = driver.decode(heard).prompt_tokens if heard.status == 200 else None
    assert (counted == len(ids)) == driver.capabilities.token_ids, (heard.status, counted)
