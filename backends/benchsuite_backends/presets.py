"""Hosted APIs and gateways of the OpenAI dialect, as data: `presets.toml` says how each differs."""

import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec

from benchsuite.driver import Capabilities, Driver, Launch, Setting
from benchsuite.errors import UsageError
from benchsuite.types import CacheMode, Call, Identity, Noun, Reply, Request, Tape, Target
from benchsuite.wire import calls, responses
from benchsuite.wire import openai as dialect

PLACE: Final = re.compile(r"[a-z0-9-]+")


class Differences(Noun, frozen=True, kw_only=True):
    """One table of `presets.toml`, which says what its fields mean."""

    title: str
    url: str
    region: str = ""
    keys: tuple[str, ...]
    key_page: str = ""
    key_header: str = ""
    endpoints: tuple[str, ...] = ("chat", "completions", "responses")
    max_tokens: str = "max_tokens"
    temperature: str = ""
    body: dict[str, Any] = {}
    reasoning: dict[str, dict[str, Any]] = {}
    cached_tokens: bool = False
    server_timings: bool = False
    caching: str = ""
    provider_pin: bool = False
    alive: str = ""
    says: str = ""
    header: str = ""
    models: bool = True
    checked: str


class Preset:
    """Options: those of the OpenAI dialect; `region=…` and `provider=A,B` where the table has them."""

    settings: Mapping[str, Setting] = MappingProxyType({})

    def __init__(self, name: str, differences: Differences, region: str = "") -> None:
        own = self._own = differences
        self.name, self.title, self._region = name, own.title, region
        self.default_url = own.url.replace("{region}", region or own.region)
        self.key_variables, self.key_page = own.keys, own.key_page
        more = {
            "region": own.region and f"where it is served [{own.region}]",
            "provider": own.provider_pin and "only these providers, in this order: A,B",
            "auth": own.key_header and f"bearer: the key as a token, not in the header {own.key_header}",
        }
        self.options = dialect.OPTIONS | {name: text for name, text in more.items() if text}
        itself: dict[CacheMode, str] = {"cold": "each prompt begins with words of its own"}
        if own.caching:
            itself |= {"warm": own.caching, "shared": own.caching}
        self.capabilities = Capabilities(
            exact_output=False,
            cache_off=False,
            cached_tokens=own.cached_tokens,
            server_timings=own.server_timings,
            launch=False,
            endpoints=own.endpoints,
            caching=MappingProxyType(itself),
            sampling="by model" if own.temperature else "yes",
            reasoning=bool(own.reasoning),
        )

    def configured(self, options: Mapping[str, str]) -> Driver:
        """The driver of the option `region`, which is part of its address."""
        region = options.get("region", "")
        if "region" in options and not PLACE.fullmatch(region):
            raise UsageError(f"--option region={region!r} is no region; one looks like eu-central-1")
        return cast(Driver, Preset(self.name, self._own, region))

    def launch(self, target: Target) -> Launch | None:
        """Attach only."""
        return None

    def identify(self, target: Target) -> tuple[Call, ...]:
        """The list of models; where the table knows of one and the URL is a root, its page of health."""
        alive = self._own.alive and not dialect.VERSIONED.search(target.url)
        paths = (dialect.path(target, "models"), *((self._own.alive,) if alive else ()))
        return tuple(dialect.get(self._keyed(target), path) for path in paths)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """A list of models, or its own header; hosts that many share can't be told by more."""
        own, first = self._own, tapes[0]
        models = _listed(first)
        headers = {name.lower() for name, _ in first.headers}
        shown = first.status not in (0, 401, 403) and own.header in headers
        alive = len(tapes) == 1 or own.says.encode() in tapes[1].body
        if not alive or (not models and not shown):
            return None
        names = tuple(model["id"] for model in models) if own.models else ()
        return Identity(
            server=own.title, models=names, details={"region": self._region} if self._region else {}
        )

    def encode(self, request: Request, target: Target) -> Call:
        """Output length is an upper bound. A UsageError for what can't be said here."""
        own, endpoint = self._own, target.options.get("endpoint", self._own.endpoints[0])
        if endpoint not in own.endpoints:
            raise UsageError(f"{own.title} has no endpoint {endpoint!r}; it has: {', '.join(own.endpoints)}")
        extra = dict(own.body)
        if own.provider_pin and (pinned := target.options.get("provider")):
            extra["provider"] = {"order": pinned.split(","), "allow_fallbacks": False}
        if request.reasoning:
            if request.reasoning not in own.reasoning or endpoint != "chat":
                raise UsageError(
                    f"--reasoning {request.reasoning} can't be said to {own.title}; use --extra-body"
                )
            extra |= own.reasoning[request.reasoning]
        defaults = {"max_tokens_field": own.max_tokens} if endpoint == "chat" else {}
        options = defaults | ({"temperature": own.temperature} if own.temperature else {}) | target.options
        asked = msgspec.structs.replace(self._keyed(target), options=options)
        if endpoint == "responses":
            return responses.call(request, asked, extra=calls.greedy(asked) | extra)
        return dialect.call(request, asked, extra=extra)

    def decode(self, tape: Tape) -> Reply:
        """Chat, completions or Responses, whichever the answer is."""
        return responses.decode(tape) if responses.speaks(tape) else dialect.decode(tape)

    def _keyed(self, target: Target) -> Target:
        """The key in the header that the table names; with the option `auth=bearer` where it usually is."""
        name = self._own.key_header
        if not name or not target.key or target.options.get("auth") == "bearer":
            return target
        return msgspec.structs.replace(target, key=None, headers={name: target.key} | target.headers)


def _listed(tape: Tape) -> list[dict[str, Any]]:
    """The models of an answer; Together's is a bare list. Empty: it is no list."""
    found = dialect.listed(tape)
    if found is None and tape.status == 200 and tape.body.lstrip().startswith(b"["):
        try:
            cards = msgspec.json.decode(tape.body, type=list[dict[str, Any]])
        except (msgspec.DecodeError, UnicodeDecodeError):
            cards = []
        found = [card for card in cards if isinstance(card.get("id"), str)]
    return found or []


TABLE: Final[Mapping[str, Differences]] = MappingProxyType(
    msgspec.toml.decode((files(__package__) / "presets.toml").read_bytes(), type=dict[str, Differences])
)


def _made(name: str) -> Callable[[], Driver]:
    def made() -> Driver:
        # Its names stand in instances, where the protocol has them in classes.
        return cast(Driver, Preset(name, TABLE[name]))

    return made


openrouter = _made("openrouter")
groq = _made("groq")
together = _made("together")
fireworks = _made("fireworks")
cerebras = _made("cerebras")
deepinfra = _made("deepinfra")
azure = _made("azure")
bedrock = _made("bedrock")
litellm = _made("litellm")
nim = _made("nim")
