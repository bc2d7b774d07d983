"""What is where: every path that the simulator answers, with the state behind it.

A *door* takes completions, which are timed; a *page* is everything else. To add pages, write a module with
`register(site)`, which calls `site.page(method, pattern, answer)` for each, and put that function into
`FURTHER` in `benchsuite/simulator/further.py`. A pattern is a path in which `{name}` stands for anything
without a slash or colon. `answer(incoming, found)` gets the request and what the names stood for, and gives a
`Page`, or raises `Refused`; state lives in whatever object holds `answer`, made anew by each `register`.
`site.at_once(path, body)` gives the whole answer to a completion without any time passing, for batches.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from benchsuite.simulator.asked import Answer, Asked, Refused, Times
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.dialect import Dialect
from benchsuite.simulator.engines import ENGINES
from benchsuite.simulator.http import SERVER, Page
from benchsuite.simulator.prompts import PrefixCache

Answering = Callable[[Incoming, dict[str, str]], Page]

_KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")


class Route(msgspec.Struct, frozen=True, gc=False):
    """One path. `kind`: of completion, where it is a door; `public`: it needs no key."""

    dialect: Dialect
    kind: str = ""
    page: Answering | None = None
    public: bool = False


class Load(msgspec.Struct):
    """What the server has done so far, for pages of metrics; `ttft_s` is summed up."""

    running: int = 0
    waiting: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    ttft_s: float = 0.0
    e2e_s: float = 0.0


class Site:
    """Everything that one server answers; `load` is kept up to date by the loop."""

    def __init__(self, config: SimConfig, fallback: Dialect) -> None:
        self.config = config
        self.load = Load()
        self.cache = (
            PrefixCache(config.cache_block_tokens, config.cache_prompts) if config.prefix_cache else None
        )
        self.server = ENGINES[config.engine].server or SERVER
        self._fallback = fallback
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        self._manners: list[tuple[str, Dialect]] = []

    # ------------------------------------------------------------ what there is

    def door(self, pattern: str, dialect: Dialect, kind: str) -> None:
        """Completions of a dialect are asked for there, with POST."""
        self._add("POST", pattern, Route(dialect, kind))

    def page(
        self,
        method: str,
        pattern: str,
        answer: Answering,
        *,
        dialect: Dialect | None = None,
        public: bool = False,
    ) -> None:
        """Anything else is there; `dialect` is that of its refusals, None: the most likely one."""
        self._add(method, pattern, Route(dialect or self.speaks(pattern), "", answer, public))

    def below(self, prefix: str, dialect: Dialect) -> None:
        """Unknown paths that begin so are refused in this dialect; the longest prefix counts."""
        self._manners.append((prefix, dialect))

    def _add(self, method: str, pattern: str, route: Route) -> None:
        if "{" not in pattern:
            self._exact.setdefault(pattern, {})[method] = route
            return
        parts = re.split(r"(\{\w+\})", pattern)
        regex = "".join(f"(?P<{p[1:-1]}>[^/:]+)" if p.startswith("{") else re.escape(p) for p in parts)
        for known, methods in self._patterns:
            if known.pattern == regex:
                methods[method] = route
                return
        self._patterns.append((re.compile(regex), {method: route}))

    # ------------------------------------------------------------ what is asked

    def find(self, incoming: Incoming) -> tuple[Route, dict[str, str]]:
        """Who answers, and what the pattern's names stand for; raises Refused."""
        methods, found = self._there(incoming.path)
        route = methods.get(incoming.method)
        if route is None:
            raise Refused("method", "wrong method")
        if self.config.key and not route.public and _key(incoming) != self.config.key:
            raise Refused("key", "the key is missing or wrong")
        return route, found

    def _there(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        """The methods of a path, and what its names stand for; raises Refused where there is nothing."""
        methods = self._exact.get(path)
        if methods is not None:
            return methods, {}
        for pattern, there in self._patterns:
            match = pattern.fullmatch(path)
            if match:
                return there, match.groupdict()
        raise Refused("path", "there is nothing at this path")

    def speaks(self, path: str) -> Dialect:
        """The dialect in which a path's errors are told."""
        with contextlib.suppress(Refused):
            return next(iter(self._there(path)[0].values())).dialect
        known = [(len(prefix), dialect) for prefix, dialect in self._manners if path.startswith(prefix)]
        return max(known, key=lambda one: one[0])[1] if known else self._fallback

    def cached(self, asked: Asked) -> tuple[int, int]:
        """How many of a prompt's tokens are cached, and how many are remembered now."""
        if self.cache is None or not asked.cache:
            return asked.held, 0
        least = self.config.cache_min_tokens
        if len(asked.prompt[: asked.cache_to] if asked.cache_to >= 0 else asked.prompt) < least:
            return asked.held, 0
        cached, written = self.cache.take(asked.prompt, asked.salt, asked.cache_to)
        return max(cached if cached >= least else 0, asked.held), written

    def at_once(self, path: str, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> Page:
        """The whole answer to a completion request, without any time passing, or its refusal."""
        incoming = Incoming("POST", path, "", body, 0, False, False, "", headers)
        api = self.speaks(path).api
        try:
            methods, found = self._there(path)
            route = methods.get("POST")
            if route is None or not route.kind:
                raise Refused("path", "no completion is asked for there")
            asked = route.dialect.read(incoming, route.kind, found)
        except Refused as refused:
            return api.refusal(refused)
        if isinstance(asked, Page):
            return asked
        cached, written = self.cached(asked)
        tokens, stopped = asked.ending()
        answer = Answer(
            asked=asked,
            tokens=tokens,
            reasoning=min(asked.reasoning, tokens if asked.shown else tokens - 1),
            cached=cached,
            written=written,
            stopped=stopped,
            times=Times(),
        )
        return api.whole(answer)


def _key(incoming: Incoming) -> str:
    """The key that a request brings, in any of the places where keys stand."""
    authorization = incoming.headers.get("authorization", "")
    if authorization.lower().startswith("bearer "):
        return authorization[7:].strip()
    for name in _KEY_HEADERS:
        if name in incoming.headers:
            return incoming.headers[name]
    found = re.search(r"(?:^|&)key=([^&]*)", incoming.query)
    return found[1] if found else ""
