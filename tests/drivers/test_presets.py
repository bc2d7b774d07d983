"""Presets: the same tests for each table, with answers composed after the vendors' documents."""

import importlib.resources

import msgspec
import pytest

from benchsuite.driver import KnowsPlace, backends, load
from benchsuite.errors import UsageError
from benchsuite.testing import KEY, DriverConformance, Recording, request, tape
from benchsuite.types import Target
from benchsuite_backends import presets
from benchsuite_backends.differences import TABLE

MODELS = tape(b'{"object":"list","data":[{"id":"a/m","object":"model"},{"id":"b/m","object":"model"}]}')


def chunk(**fields):
    return b"data: %b\n\n" % msgspec.json.encode({"id": "c", "object": "chat.completion.chunk", **fields})


def choice(finish=None, **delta):
    return [{"index": 0, "delta": delta, "finish_reason": finish}]


WORDS = (
    b": OPENROUTER PROCESSING\n\n"
    + chunk(choices=choice(role="assistant", content=""))
    + chunk(choices=choice(reasoning="hm"))
    + chunk(choices=choice(content="Hello"))
    + chunk(choices=choice(content=" there"))
)
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 30, "completion_tokens": 16, "total_tokens": 46}
CACHED = USAGE | {"prompt_tokens_details": {"cached_tokens": 20}}
TIMES = {"queue_time": 0.25, "prompt_time": 0.5, "completion_time": 1.5, "total_time": 2.0}
PERF = {"server-time-to-first-token": 0.25, "prompt-tokens": 30, "deployment": "serverless"}
END = choice("length")
ENDINGS = {
    "openrouter": chunk(choices=END) + chunk(choices=[], usage=CACHED | {"cost": 0.1}),
    "groq": chunk(choices=END, x_groq={"id": "r", "usage": CACHED | TIMES}),
    "together": chunk(choices=END, usage=USAGE),
    "fireworks": chunk(choices=END, usage=CACHED, perf_metrics=PERF),
    "cerebras": chunk(choices=END, usage=CACHED, time_info=TIMES | {"created": 1723733419}),
    "deepinfra": chunk(choices=END) + chunk(choices=[], usage=USAGE),
    "azure": chunk(choices=END) + chunk(choices=[], usage=CACHED),
    "bedrock": chunk(choices=END) + chunk(choices=[], usage=USAGE),
    "litellm": chunk(choices=END) + chunk(choices=[], usage=USAGE),
    "nim": chunk(choices=END) + chunk(choices=[], usage=USAGE),
}
HEADERS = {
    "fireworks": [("fireworks-server-time-to-first-token", "0.25")],
    "litellm": [("x-litellm-response-duration-ms", "120.5"), ("x-litellm-overhead-duration-ms", "3.5")],
}
TIMINGS = {
    "groq": TIMES,
    "cerebras": TIMES,
    "fireworks": {
        "server-time-to-first-token": 0.25,
        "prompt-tokens": 30.0,
        "fireworks-server-time-to-first-token": 0.25,
    },
    "litellm": {"x-litellm-response-duration-ms": 120.5, "x-litellm-overhead-duration-ms": 3.5},
}


def made(name):
    return getattr(presets, name)()


def target(name, **changes):
    return Target(
        backend=name,
        url=made(name).default_url or "https://r.openai.azure.com/openai/v1",
        model="m",
        key=KEY,
        **changes,
    )


def heard(name):
    return tape(WORDS + ENDINGS[name] + DONE, headers=HEADERS.get(name, ()))


class Preset(DriverConformance):
    __test__ = False

    def __init_subclass__(cls) -> None:
        name = cls.__name__.removeprefix("Test").lower()
        cls.__test__ = True
        cls.driver, cls.target = made(name), target(name)
        facts = {"cached_tokens": 20} if TABLE[name].cached_tokens else {}
        cls.recordings = (
            Recording(
                name=name,
                tape=heard(name),
                events=3,
                first_text="hm",
                last_text=" there",
                prompt_tokens=30,
                output_tokens=16,
                finish_reason="length",
                **facts,
            ),
        )
        alive = tape(b'"I\'m alive!"')
        cls.identity_tapes = (MODELS, *((alive,) if TABLE[name].alive else ()))


class TestOpenRouter(Preset):
    pass


class TestGroq(Preset):
    pass


class TestTogether(Preset):
    pass


class TestFireworks(Preset):
    pass


class TestCerebras(Preset):
    pass


class TestDeepInfra(Preset):
    pass


class TestAzure(Preset):
    unobserved = {"sampling": "a deployment's name doesn't tell whether its model takes a temperature"}


class TestBedrock(Preset):
    pass


class TestLiteLLM(Preset):
    pass


class TestNIM(Preset):
    pass


def test_every_table_is_a_backend_and_has_been_tested() -> None:
    tested = {cls.driver.name for cls in Preset.__subclasses__()}
    assert tested == set(TABLE) == set(ENDINGS)
    assert set(TABLE) <= set(backends())
    assert all(backends()[name].value == f"benchsuite_backends.presets:{name}" for name in TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_table_says_where_it_is_from_and_where_a_key_is_had(name) -> None:
    own = TABLE[name]
    assert own.checked.startswith(("2026-", "unverified"))
    assert own.keys and (own.key_page or name == "litellm")
    assert own.url.startswith("https://") or name in ("azure", "litellm")


def test_the_file_of_tables_comes_along() -> None:
    assert importlib.resources.files("benchsuite_backends").joinpath("presets.toml").is_file()


@pytest.mark.parametrize("name", TABLE)
def test_server_timings_are_under_their_own_names(name) -> None:
    assert made(name).decode(heard(name)).server_timings == TIMINGS.get(name, {})


def sent(name, asked=None, url="", **options):
    to = target(name, options=options)
    call = load(name, options).encode(asked or request("hi"), msgspec.structs.replace(to, url=url or to.url))
    return call, msgspec.json.decode(call.body)


@pytest.mark.parametrize(
    ("name", "field"),
    [("groq", "max_completion_tokens"), ("together", "max_tokens"), ("azure", "max_completion_tokens")],
)
def test_the_limit_has_the_name_that_is_known_there(name, field) -> None:
    _, body = sent(name)
    assert {one for one in body if one.startswith("max")} == {field}
    assert sent(name, max_tokens_field="limit")[1]["limit"] == 16


def test_paths_below_each_base() -> None:
    paths = {name: sent(name)[0].path for name in TABLE}
    assert paths.pop("litellm") == "/v1/chat/completions"
    assert set(paths.values()) == {"/chat/completions"}


def test_openrouters_provider_is_pinned_on_request() -> None:
    assert "provider" not in sent("openrouter")[1]
    pinned = {"order": ["groq", "deepinfra"], "allow_fallbacks": False}
    assert sent("openrouter", provider="groq,deepinfra")[1]["provider"] == pinned
    assert "provider" not in made("groq").options


def test_azure_has_its_own_key_header_and_no_temperature() -> None:
    call, body = sent("azure")
    assert call.headers["api-key"] == KEY and "Authorization" not in call.headers
    assert "temperature" not in body
    assert sent("azure", temperature="0")[1]["temperature"] == 0
    bearer, _ = sent("azure", auth="bearer")
    assert bearer.headers["Authorization"] == f"Bearer {KEY}" and "api-key" not in bearer.headers


def test_bedrocks_region_is_part_of_its_address_and_of_who_it_is() -> None:
    assert made("bedrock").default_url == "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1"
    there = load("bedrock", {"region": "eu-central-1"})
    assert there.default_url == "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1"
    known = tape(b"{}", status=404, headers=[("x-amzn-RequestId", "7")])
    found = there.identity((known,))
    assert found is not None and found.server == "Amazon Bedrock"
    refused = tape(b"{}", status=403, headers=[("x-amzn-RequestId", "7")])
    assert there.identity((refused,)) is None
    for region in ("evil.example.org/", ""):
        with pytest.raises(UsageError, match="is no region"):
            load("bedrock", {"region": region})


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("", "us-east-1"),
        ("https://bedrock-runtime.eu-west-3.amazonaws.com/openai/v1", "eu-west-3"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com/openai/v1", "us-gov-west-1"),
        ("https://bedrock-mantle.ap-south-2.api.aws/v1", "ap-south-2"),
        ("https://vpce-1.bedrock-runtime.sa-east-1.vpce.amazonaws.com/openai/v1", "sa-east-1"),
        ("https://gateway.example.org/eu-west-3", ""),
    ],
)
def test_the_region_is_read_from_the_url(url, region) -> None:
    driver = made("bedrock")
    assert isinstance(driver, KnowsPlace)
    assert driver.place(Target(backend="bedrock", url=url or driver.default_url)) == region


def test_the_region_that_was_named_counts_where_the_url_names_none() -> None:
    driver = load("bedrock", {"region": "eu-central-1"})
    assert isinstance(driver, KnowsPlace)
    places = {
        url: driver.place(Target(backend="bedrock", url=url)) for url in (driver.default_url, "http://me")
    }
    assert set(places.values()) == {"eu-central-1"}
    there = "https://bedrock-runtime.eu-west-3.amazonaws.com/openai/v1"
    assert driver.place(Target(backend="bedrock", url=there)) == "eu-west-3", "that is where requests go"
    assert made("groq").place(Target(backend="groq", url=there)) == ""


def test_a_bare_list_of_models_is_one() -> None:
    found = made("together").identity((tape(b'[{"id":"a/m"},{"no":"id"},3]'),))
    assert found is not None and found.models == ("a/m",)
    for other in (b"[]", b'[{"no":"id"}]', b"3", b"["):
        assert made("together").identity((tape(other),)) is None


def test_a_word_for_auth_that_means_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="--option auth is bearer, not 'key'"):
        load("azure", {"auth": "key"})


def test_reasoning_that_can_not_be_said_is_refused() -> None:
    low = msgspec.structs.replace(request(), reasoning="low")
    off = msgspec.structs.replace(request(), reasoning="off")
    assert sent("openrouter", low)[1]["reasoning"] == {"effort": "low"}
    assert sent("cerebras", low)[1]["reasoning_effort"] == "low"
    with pytest.raises(UsageError, match="--reasoning off can't be said to Cerebras"):
        sent("cerebras", off)
    assert not made("together").capabilities.reasoning


def test_doors_that_are_not_there_are_refused() -> None:
    assert sent("groq", endpoint="responses")[0].path == "/responses"
    assert sent("fireworks")[1]["perf_metrics_in_response"] is True
    with pytest.raises(UsageError, match="it has: chat, responses"):
        sent("groq", endpoint="completions")


def test_togethers_list_is_bare() -> None:
    found = made("together").identity((tape(b'[{"id": "a/m", "type": "chat"}]'),))
    assert found is not None and found.models == ("a/m",)


def test_models_that_are_not_all_that_can_be_asked_for_are_not_listed() -> None:
    found = made("azure").identity((MODELS,))
    assert found is not None and found.models == ()


def test_litellm_is_alive_or_somebody_else() -> None:
    driver = made("litellm")
    assert [call.path for call in driver.identify(target("litellm"))] == ["/v1/models", "/health/liveliness"]
    assert driver.identity((MODELS, tape(b"{}", status=404))) is None
    below = msgspec.structs.replace(target("litellm"), url="http://localhost:4000/v1")
    assert [call.path for call in driver.identify(below)] == ["/models"]
