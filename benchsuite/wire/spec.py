"""A streaming HTTP API described as data: how to ask it, how to read its answers, what it can do.

The keys stand in `Spec` and the tables below it; `backends/README.md` explains them, and `EXAMPLE` is one
to begin with.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Noun
from benchsuite.wire import paths, template

PLACEHOLDERS: Final = (
    "prompt",
    "messages",
    "model",
    "max_tokens",
    "min_tokens",
    "seed",
    "cache",
    "reasoning",
    "json_schema",
    "tools",
)
"""What a path, a header or a body may hold, in braces; `{key}` only a header may."""

MOST_CHARS: Final = 200_000
_WHERE: Final = "--spec:"
_NAME: Final = re.compile(r"[\w][\w .+-]{0,59}")


class Match(Noun, frozen=True, kw_only=True):
    """Is true of an event where `path` leads to `equals`; without it, to anything but null."""

    path: str
    equals: str | int | float | bool | None = None

    def fits(self, event: Any) -> bool:
        """Is it true of this event?"""
        values = list(paths.found(event, paths.steps(self.path)))
        return bool(values) if self.equals is None else any(_same(one, self.equals) for one in values)


class Asked(Noun, frozen=True, kw_only=True):
    """The request. `body` is a table, or the same as JSON text; a GET has none."""

    path: str
    method: Literal["POST", "GET"] = "POST"
    headers: dict[str, str] = {}
    body: dict[str, Any] | str = {}


class Answer(Noun, frozen=True, kw_only=True):
    """How an answer is read.

    `framing`: server-sent events, lines of JSON, lines of text, or one JSON object that isn't streamed.
    `data`: what an event holds, where that isn't the framing's own. `prefix`: lines without it are skipped,
    and it is taken away. `cumulative`: each event repeats the text so far. `done`: a whole event of that
    text, or a match; empty: the body's end is the answer's.
    """

    framing: Literal["sse", "ndjson", "lines", "json"]
    data: Literal["", "json", "text"] = ""
    prefix: str = ""
    text: str | tuple[str, ...] = ()
    text_if: Match | None = None
    reasoning: str | tuple[str, ...] = ()
    reasoning_if: Match | None = None
    cumulative: bool = False
    done: str | Match = ""
    finish: str = ""
    error: str | tuple[str, ...] = "error"


class Usage(Noun, frozen=True, kw_only=True):
    """Where token counts stand; empty: nowhere.

    `count`: the `last` number of an answer is the answer's, or the `sum` of its events' is, or `events` are
    counted.
    """

    prompt: str = ""
    output: str = ""
    cached: str = ""
    reasoning: str = ""
    count: Literal["last", "sum", "events"] = "last"


class Scaled(Noun, frozen=True, kw_only=True):
    """A number at `path`, `times` as much: 1000 where a server counts seconds and the name says ms."""

    path: str
    times: float = 1.0


class Identify(Noun, frozen=True, kw_only=True):
    """What to GET before anything is measured, and what has to be in its JSON answer (`field`)."""

    path: str
    field: str = ""
    version: str = ""
    models: str = ""


class Claims(Noun, frozen=True, kw_only=True):
    """What nobody can see from outside. `exact_output`: the member of the body that forces the length."""

    exact_output: str = ""
    slots: int | None = None


class Spec(Noun, frozen=True, kw_only=True):
    """The whole description. `request` is None, and `digest` set, in the form that a store holds."""

    name: str
    request: Asked | None = None
    answer: Answer
    usage: Usage = Usage()
    timings: dict[str, str | Scaled] = {}
    identify: Identify | None = None
    capabilities: Claims = Claims()
    digest: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """The template of the body, decoded."""
        body = self.request.body if self.request else {}
        return body if isinstance(body, dict) else _json(body)

    def asks_for(self, placeholder: str) -> bool:
        """Does the request say anything of it?"""
        path = self.request.path if self.request else ""
        return placeholder in {*template.placeholders(self.body), *template.placeholders(path)}

    def stored(self) -> str:
        """What reading the answers again takes, without anything that is sent: no body, header or path."""
        kept = msgspec.structs.replace(self, request=None, identify=None)
        return msgspec.json.encode(kept).decode()


_TABLES: Final[Mapping[str, type[msgspec.Struct]]] = MappingProxyType(
    {
        "request": Asked,
        "answer": Answer,
        "usage": Usage,
        "identify": Identify,
        "capabilities": Claims,
        "answer.done": Match,
        "answer.text_if": Match,
        "answer.reasoning_if": Match,
    }
)


def parse(text: str) -> Spec:
    """The specification in TOML, or as it was stored; a UsageError of one line says where it is wrong."""
    if len(text) > MOST_CHARS:
        raise UsageError(f"{_WHERE} {len(text):,} characters are too many; is it the right file?")
    try:
        table = msgspec.json.decode(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise UsageError(f"{_WHERE} {error}") from None
    if not isinstance(table, dict):
        raise UsageError(f"{_WHERE} not a table")
    _check_keys(table, Spec, "")
    try:
        spec = msgspec.convert(table, Spec)
    except msgspec.ValidationError as error:
        raise UsageError(f"{_WHERE} {_fault(str(error))}") from None
    _check(spec)
    return (
        spec
        if spec.digest
        else msgspec.structs.replace(spec, digest=hashlib.sha256(text.encode()).hexdigest())
    )


def _check_keys(table: Mapping[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    """Refuse unknown keys, with the nearest known one or the table that it belongs to."""
    known = kind.__struct_fields__
    for key, value in table.items():
        path = f"{where}.{key}" if where else key
        if key not in known:
            homes = [
                name for name, one in _TABLES.items() if key in one.__struct_fields__ and "." not in name
            ]
            near = get_close_matches(key, known, n=1)
            if homes and not near:
                hint = f"it belongs into {' or '.join(f'[{home}]' for home in homes)}"
            else:
                hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
            raise UsageError(f"{_WHERE} unknown key {path}; {hint}")
        if path in _TABLES and isinstance(value, dict):
            _check_keys(value, _TABLES[path], path)
        if path == "timings" and isinstance(value, dict):
            for name, one in value.items():
                if isinstance(one, dict):
                    _check_keys(one, Scaled, f"{path}.{name}")


def _fault(message: str) -> str:
    """The words of msgspec with the key in front instead of behind."""
    what, _, at = message.partition(" - at `$")
    return f"{at.strip('.`')}: {what}" if at.strip(".`") else what


def _check(spec: Spec) -> None:
    """What the types don't say."""
    if not _NAME.fullmatch(spec.name):
        raise UsageError(f"{_WHERE} name is up to 60 letters, digits, blanks and . _ + -")
    if spec.request is None and not spec.digest:
        raise UsageError(f"{_WHERE} [request] is missing")
    if spec.request is not None:
        _check_request(spec, spec.request)
    answer, usage = spec.answer, spec.usage
    plain = answer.data == "text" or (answer.framing == "lines" and not answer.data)
    if not plain and not answer.text and not answer.reasoning and answer.framing != "json":
        raise UsageError(
            f"{_WHERE} [answer] text is missing: the path of an event's text, such as choices.0.text"
        )
    if answer.prefix and answer.framing not in {"lines", "ndjson"}:
        raise UsageError(f"{_WHERE} [answer] prefix goes with lines, not with {answer.framing}")
    if plain and answer.framing in {"ndjson", "json"}:
        raise UsageError(
            f'{_WHERE} [answer] data = "text" goes with sse and lines, not with {answer.framing}'
        )
    if (usage.count == "events") == bool(usage.output) and usage.count != "last":
        which = "leave output out" if usage.output else "say with output where each event's number stands"
        raise UsageError(f'{_WHERE} [usage] count = "{usage.count}": {which}')
    if spec.identify is not None and not spec.identify.path.startswith("/"):
        raise UsageError(f"{_WHERE} [identify] path has to begin with /")
    for path in _paths(spec):
        if "" in paths.steps(path):
            raise UsageError(f"{_WHERE} the path {path!r} has an empty step")


def _check_request(spec: Spec, asked: Asked) -> None:
    if not asked.path.startswith("/"):
        raise UsageError(f"{_WHERE} [request] path has to begin with /: it is relative to --url")
    template.check(asked.path, PLACEHOLDERS, f"{_WHERE} [request] path")
    template.check(spec.body, PLACEHOLDERS, f"{_WHERE} [request] body")
    template.check(asked.headers, ("key", "model"), f"{_WHERE} [request] headers")
    if not (spec.asks_for("prompt") or spec.asks_for("messages")):
        raise UsageError(
            f'{_WHERE} [request] never says what is asked: put "{{prompt}}" or "{{messages}}" into body'
        )
    if asked.method == "GET" and asked.body:
        raise UsageError(f"{_WHERE} [request] a GET has no body; put placeholders into its path")
    forces = spec.capabilities.exact_output
    if forces and not any(paths.found(spec.body, paths.steps(forces))):
        raise UsageError(
            f"{_WHERE} [capabilities] exact_output names {forces!r}, which isn't in [request] body"
        )


def _paths(spec: Spec) -> Iterator[str]:
    """Every path of a specification that is set."""
    answer, usage, who = spec.answer, spec.usage, spec.identify
    yield from several(answer.text)
    yield from several(answer.reasoning)
    yield from several(answer.error)
    yield from filter(None, (answer.finish, usage.prompt, usage.output, usage.cached, usage.reasoning))
    yield from (one.path if isinstance(one, Scaled) else one for one in spec.timings.values())
    matches = (answer.text_if, answer.reasoning_if, answer.done)
    yield from (match.path for match in matches if isinstance(match, Match))
    if who is not None:
        yield from filter(None, (who.field, who.version, who.models))


def several(path: str | tuple[str, ...]) -> tuple[str, ...]:
    """One path or several as several; an empty one is none."""
    return path if isinstance(path, tuple) else (path,) if path else ()


def _json(text: str) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise UsageError(
            f'{_WHERE} [request] body is no JSON ({error}); placeholders stand in quotes, as "{{max_tokens}}"'
        ) from None
    if not isinstance(body, dict):
        raise UsageError(f"{_WHERE} [request] body has to be a JSON object")
    return body


def _same(one: Any, other: str | int | float | bool) -> bool:
    """Equal, where a truth is no number."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
