"""Hosted APIs and gateways of the OpenAI dialect: one driver, and a table of how each differs."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, cast

import msgspec

from benchsuite.driver import Driver, Launch, Setting
from benchsuite.errors import UsageError
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, responses
from benchsuite.wire import openai as dialect
from benchsuite_backends.differences import TABLE, Differences

PLACE: Final = re.compile(r"[a-z0-9-]+")


class Preset:
    """The OpenAI dialect, changed as one table says."""

    settings: Mapping[str, Setting] = MappingProxyType({})

    def __init__(self, name: str, differences: Differences, region: str = "") -> None:
        own = self._own = differences
        self.name, self.title, self._region = name, own.title, region
        self.default_url = own.url.replace("{region}", region or own.region)
        self.key_variables, self.key_page = own.keys, own.key_page
        self.options, self.capabilities = own.options(), own.capabilities()

    def configured(self, options: Mapping[str, str]) -> Driver:
        """The driver of the option `region`, which is part of its address."""
        calls.checked(options, {"auth": ("bearer",)})
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
        models = dialect.listed(first)
        headers = {name.lower() for name, _ in first.headers}
        shown = first.status not in (0, 401, 403) and own.header in headers
        alive = len(tapes) == 1 or own.says.encode() in tapes[1].body
        if not alive or (not models and not shown):
            return None
        names = tuple(model["id"] for model in models or ()) if own.models else ()
        return Identity(server=own.title, models=names)

    def place(self, target: Target) -> str:
        """As the table finds it in the URL; behind somebody's own address the region that was named."""
        found = re.search(self._own.region_in_url, target.url) if self._own.region_in_url else None
        return found[1] if found else self._region

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
