"""What a driver can do, found out from what it encodes and decodes, and not from what it says of itself.

The conformance kit compares it with the driver's capabilities, and the reference is made from it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from benchsuite.driver import (
    BatchApi,
    Capabilities,
    Driver,
    HasMetrics,
    LoadsModels,
    PreparesCache,
    ResetsCache,
    Tokenizes,
    UploadsBatches,
)
from benchsuite.errors import UsageError
from benchsuite.types import CacheMode, Call, Message, Noun, Reasoning, Reply, Request, Tape, Target
from benchsuite.wire.passing import SPOKEN

Sampling = Literal["yes", "by model", "no"]

DOORS: Final = ("chat", "completions", "responses", "messages", "native", "generate", "generateContent")
"""Names of doors that are tried with every driver, beside those that it names."""
NO_DOOR: Final = "no-such-door"
SAMPLING_FIELDS: Final = frozenset({"temperature", "top_p", "topP", "top_k", "topK", "do_sample", "seed"})
ENDLESS_FIELDS: Final = ("ignore_eos", "min_tokens", "min_new_tokens", "logit_bias")
"""Fields that forbid an early end without naming the length that was asked for."""
OUTPUT_TOKENS: Final = 16
SHARED: Final = "these words are shared by all. "

COMPARED: Final = (
    *("exact_output", "cache_off", "cached_tokens", "server_timings", "launch"),
    *("endpoints", "sampling", "reasoning"),
)
"""The capabilities that can be observed."""

PROTOCOLS: Final[Mapping[str, type]] = {
    "tokenizes": Tokenizes,
    "metrics": HasMetrics,
    "resets_cache": ResetsCache,
    "prepares_cache": PreparesCache,
    "loads_models": LoadsModels,
    "batches": BatchApi,
}


class Observed(Noun, frozen=True, kw_only=True):
    """The observable capabilities, by their names in `Capabilities`, and the optional protocols."""

    exact_output: bool
    cache_off: bool
    cached_tokens: bool
    server_timings: bool
    launch: bool
    endpoints: tuple[str, ...]
    sampling: Sampling
    reasoning: bool
    passes: tuple[str, ...]
    protocols: tuple[str, ...]


def observed(
    driver: Driver, target: Target, replies: Iterable[Reply], models: Sequence[str] = ()
) -> Observed:
    """Try it out, for this target with its options.

    `replies`: streamed answers, decoded; `models`: further ones, where sampling depends on them.
    """
    seen = list(replies)
    doors = _doors(driver, target)
    through = [_at(target, door) for door in doors]
    return Observed(
        exact_output=any(_forces_length(driver, one) for one in through),
        cache_off=any(_switches_cache(driver, one) for one in through),
        cached_tokens=any(reply.cached_tokens is not None for reply in seen),
        server_timings=any(bool(reply.server_timings) for reply in seen),
        launch=driver.launch(target) is not None,
        endpoints=doors,
        sampling=_sampling(driver, through, models),
        reasoning=any(_reasons(driver, one) for one in through),
        passes=tuple(word for word in SPOKEN if any(word in passes(driver, one) for one in through)),
        protocols=tuple(name for name, kind in PROTOCOLS.items() if isinstance(driver, kind)),
    )


def lies(found: Observed, said: Capabilities, explained: Mapping[str, str]) -> list[str]:
    """What the driver says of itself and does not do, or does and does not say; one line each.

    `explained`: why an answer of this kind can't be observed, by capability; an explanation that explains
    nothing is told too.
    """
    told: list[str] = []
    for name in COMPARED:
        is_so, claimed = getattr(found, name), getattr(said, name)
        same = set(is_so) == set(claimed) if name == "endpoints" else is_so == claimed
        if same and name in explained:
            told.append(f"{name}: `unobserved` explains it, but what was observed is what is said: {claimed}")
        elif not same and name not in explained:
            told.append(f"{name}: it says {claimed}, observed was {is_so}")
    told += [
        f"{name}: `unobserved` explains what nobody compares" for name in explained if name not in COMPARED
    ]
    return told


def asked(
    text: str = "a b c",
    *,
    cache: CacheMode = "cold",
    at_least: int = OUTPUT_TOKENS,
    reasoning: Reasoning = "",
) -> Request:
    """A request that differs from another one in nothing but what is named."""
    shared = SHARED if cache == "shared" else ""
    return Request(
        index=0,
        phase="measure",
        messages=(Message(role="user", content=f"{shared}{text}"),),
        max_output_tokens=OUTPUT_TOKENS,
        min_output_tokens=at_least,
        cache=cache,
        shared_chars=len(shared),
        reasoning=reasoning,
    )


def leaves(call: Call) -> dict[str, Any]:
    """Everything a call says, flat: path, headers, and each value of a JSON body under its way there."""
    found: dict[str, Any] = {"path": call.path, **{f"header {key}": one for key, one in call.headers.items()}}
    try:
        _flatten("body", msgspec.json.decode(call.body), found)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found["body"] = call.body
    return found


def _flatten(name: str, value: Any, found: dict[str, Any]) -> None:
    if isinstance(value, dict) and value:
        for key, one in value.items():
            _flatten(f"{name}.{key}", one, found)
    elif isinstance(value, list) and value:
        for number, one in enumerate(value):
            _flatten(f"{name}.{number}", one, found)
    else:
        found[name] = value


def _at(target: Target, door: str, model: str = "") -> Target:
    options = {**target.options, "endpoint": door} if door else target.options
    return msgspec.structs.replace(target, options=options, model=model or target.model)


def _encoded(driver: Driver, request: Request, target: Target) -> dict[str, Any] | None:
    """None: it refuses such a request."""
    try:
        return leaves(driver.encode(request, target))
    except UsageError:
        return None


def _doors(driver: Driver, target: Target) -> tuple[str, ...]:
    """Names that `endpoint` takes, each for another call; one that any name stands for is the first door."""
    said = driver.capabilities.endpoints
    found: list[str] = []
    known: list[dict[str, Any] | None] = [None, _encoded(driver, asked(), _at(target, NO_DOOR))]
    for name in dict.fromkeys((*said, *DOORS)):
        encoded = _encoded(driver, asked(), _at(target, name))
        first = name == said[0] and encoded is not None
        if first or encoded not in known:
            found.append(name)
            known.append(encoded)
    return tuple(found)


def _forces_length(driver: Driver, target: Target) -> bool:
    """Another least length makes another call, or something in it forbids an early end."""
    short, exact = (_encoded(driver, asked(at_least=least), target) for least in (1, OUTPUT_TOKENS))
    if exact is None:
        return False
    endless = any(name.split(".")[-1] in ENDLESS_FIELDS and bool(one) for name, one in exact.items())
    return endless or short != exact


def _switches_cache(driver: Driver, target: Target) -> bool:
    """A cold call says something that a warm one doesn't, or the other way, and the same for any text.

    What varies with the text is a salt, not a switch.
    """
    differences: list[set[str]] = []
    for text in ("a b c", "d e f"):
        cold, warm = (_encoded(driver, asked(text, cache=mode), target) for mode in ("cold", "warm"))
        if cold is None or warm is None:
            return False
        names = cold.keys() | warm.keys()
        differences.append(
            {
                repr((name, cold.get(name), warm.get(name)))
                for name in names
                if name not in cold or name not in warm or cold[name] != warm[name]
            }
        )
    return bool(differences[0] & differences[1])


def _sampling(driver: Driver, through: Sequence[Target], models: Sequence[str]) -> Sampling:
    """Does any door say how to sample, for this model and the further ones?"""
    takes = {any(_samples(driver, _at(target, "", model)) for target in through) for model in ("", *models)}
    return "by model" if len(takes) > 1 else "yes" if takes == {True} else "no"


def _samples(driver: Driver, target: Target) -> bool:
    encoded = _encoded(driver, asked(), target) or {}
    return any(name.split(".")[-1] in SAMPLING_FIELDS for name in encoded if name.startswith("body"))


def _reasons(driver: Driver, target: Target) -> bool:
    """Each of the words makes a call of its own."""
    words: tuple[Reasoning, ...] = ("", "off", "low", "high")
    encoded = [_encoded(driver, asked(reasoning=word), target) for word in words]
    sent = [one for one in encoded if one is not None]
    return any(one != other for one, other in pairwise(sent))


CANARY: Final = "canary_3f1d"
"""A name that a request carries, to see whether it arrives in the body."""
_SCHEMA: Final = f'{{"type":"object","properties":{{"{CANARY}":{{"type":"integer"}}}}}}'
_FUNCTION: Final = f'{{"name":"{CANARY}","description":"d","parameters":{_SCHEMA}}}'
_PICTURE: Final = "Y2FuYXJ5"
_CALL: Final = '{"id":"call_1","type":"function","function":{"name":"look","arguments":"{}"}}'

_ARRIVE: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        **{"json_schema": (CANARY,), "tools": (CANARY, _PICTURE), "images": (_PICTURE,)},
        **{"model": (CANARY,), "extra": (CANARY,)},
    }
)
"""What of each has to be found in a call."""

ASKING: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "stream_off": {"stream": False},
        "json_schema": {"json_schema": _SCHEMA},
        "tools": {
            "tools": f'[{{"type":"function","function":{_FUNCTION}}}]',
            "messages": (
                Message(role="user", content="a b c"),
                Message(role="assistant", content="", tool_calls=f"[{_CALL}]"),
                Message(role="tool", content=_PICTURE, tool_call_id="call_1"),
            ),
        },
        "images": {
            "messages": (
                Message(
                    role="user",
                    content="",
                    parts='[{"type":"text","text":"a b c"},{"type":"image_url",'
                    f'"image_url":{{"url":"data:image/png;base64,{_PICTURE}"}}}}]',
                ),
            ),
        },
        "model": {"model": CANARY},
        "extra": {"extra": f'{{"{CANARY}":1}}'},
    }
)
"""What makes a plain request ask for each word of `SPOKEN`; the names in it arrive or don't."""


def passes(driver: Driver, target: Target) -> frozenset[str]:
    """Which words of `SPOKEN` the target's door passes on to the server, seen from the calls."""
    found = set()
    plain = _encoded(driver, asked(), target)
    for word, changes in ASKING.items():
        try:
            call = driver.encode(msgspec.structs.replace(asked(), **changes), target)
        except UsageError:
            continue
        sent = call.path.encode() + call.body
        if all(name.encode() in sent for name in _ARRIVE.get(word, ())) and leaves(call) != plain:
            found.add(word)
    return frozenset(found)


def besides_text(driver: Driver, target: Target) -> list[Call]:
    """The calls of requests that ask for each of `ASKING`, at each door; a refusal is one line."""
    made = []
    for door in driver.capabilities.endpoints:
        for word, changes in ASKING.items():
            try:
                made.append(driver.encode(msgspec.structs.replace(asked(), **changes), _at(target, door)))
            except UsageError as refused:
                assert "\n" not in str(refused), f"{door}, {word}: a refusal is one line"
    return made


def doors_of(driver: Driver) -> dict[str, tuple[str, ...]]:
    """Which of its doors pass each word of `SPOKEN` on, in the driver's order."""
    where = Target(backend=driver.name, url=driver.default_url or "http://127.0.0.1:1", model="m", key="k")
    doors = driver.capabilities.endpoints
    can = {door: passes(driver, _at(where, door)) for door in doors}
    return {word: tuple(door for door in doors if word in can[door]) for word in SPOKEN}


def optional_calls(driver: Driver, target: Target) -> list[Call]:
    """The calls of its optional protocols, made with plain arguments."""
    made: list[Call | None] = []
    tries: list[tuple[type, Callable[[Any], Iterable[Call | None]]]] = [
        (Tokenizes, lambda one: [one.tokenize("a b c", target)]),
        (HasMetrics, lambda one: [one.metrics(target)]),
        (ResetsCache, lambda one: [one.reset_cache(target)]),
        (PreparesCache, lambda one: [one.cache_call(SHARED, target), one.uncache_call("caches/1", target)]),
        (LoadsModels, lambda one: [one.pull_call(target)]),
        (BatchApi, lambda one: [*_batch_calls(one, target)]),
    ]
    for kind, calls in tries:
        if isinstance(driver, kind):
            made += calls(driver)
    return [call for call in made if call is not None]


def _batch_calls(driver: BatchApi, target: Target) -> Iterable[Call | None]:
    requests = [("id-1", asked("a b c")), ("id-2", asked("d e f"))]
    if isinstance(driver, UploadsBatches):
        yield driver.batch_upload(requests, target)
    yield driver.batch_create(requests, "file-1", "label-1", target)
    yield driver.batch_list(target)
    yield driver.batch_status("batch-1", target)
    yield driver.batch_cancel("batch-1", target)


def read_out(driver: Driver, heard: Tape, target: Target) -> list[Any]:
    """Everything that its optional protocols find in one answer; nothing, if it says nothing."""
    found: list[Any] = []
    if isinstance(driver, Tokenizes):
        found.append(driver.token_count(heard))
    if isinstance(driver, PreparesCache):
        found.append(driver.cache_name(heard))
    if isinstance(driver, LoadsModels):
        found += [driver.loading(heard)[1], driver.loaded(heard)]
    if isinstance(driver, BatchApi):
        states, _ = driver.batch_listed(heard, target) or ((), "")
        found += [driver.batch_state(heard, target), *states, *driver.batch_replies(heard)]
    if isinstance(driver, UploadsBatches):
        found.append(driver.batch_uploaded(heard))
    return [one for one in found if one is not None]
