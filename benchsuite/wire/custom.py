"""The dialect that a specification (`wire.spec`) describes: its calls, and its answers read."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from benchsuite.driver import Capabilities
from benchsuite.errors import UsageError
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, messages, passing, paths, sse, template
from benchsuite.wire.errors import error_kind, read_error
from benchsuite.wire.events import CONTENT, REASONING, Events
from benchsuite.wire.paths import Steps
from benchsuite.wire.spec import Answer, Match, Scaled, Spec, several

DOOR: Final = "spec"
"""The one endpoint that a specification has."""

_SAMPLING: Final = frozenset({"temperature", "top_p", "topP", "top_k", "topK", "do_sample", "seed"})
"""What members of a body are called that say how to sample."""


def capabilities(spec: Spec) -> Capabilities:
    """What the specification claims, and what follows from its placeholders and paths."""
    return Capabilities(
        exact_output=bool(spec.capabilities.exact_output),
        cache_off=spec.asks_for("cache"),
        cached_tokens=bool(spec.usage.cached),
        server_timings=bool(spec.timings),
        launch=False,
        endpoints=(DOOR,),
        default_slots=spec.capabilities.slots,
        sampling="yes" if _SAMPLING & set(_names(spec.body)) else "no",
        reasoning=spec.asks_for("reasoning"),
    )


def _names(value: Any) -> Iterator[str]:
    """Names of all members, at any depth."""
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(inner)


class Dialect:
    """A specification, its paths taken apart once."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        answer, usage = spec.answer, spec.usage
        self._text = tuple(map(paths.steps, several(answer.text)))
        self._reasoning = tuple(map(paths.steps, several(answer.reasoning)))
        self._error = tuple(map(paths.steps, several(answer.error)))
        self._finish = _optional(answer.finish)
        self._usage = {
            name: _optional(getattr(usage, name)) for name in ("prompt", "output", "cached", "reasoning")
        }
        scaled = {
            name: one if isinstance(one, Scaled) else Scaled(path=one) for name, one in spec.timings.items()
        }
        self._timings = {name: (paths.steps(one.path), one.times) for name, one in scaled.items()}
        self._plain = answer.data == "text" or (answer.framing == "lines" and not answer.data)
        self._body = spec.body

    # ------------------------------------------------------------ asking

    def call(self, request: Request, target: Target) -> Call:
        """One planned request; `extra_body` is merged in, and headers of the target win."""
        asked = self.spec.request
        if asked is None:
            raise UsageError("--backend http needs the whole specification to send anything: --spec FILE")
        self._check(request)
        target = passing.meant(request, target)
        values = {
            "prompt": messages.prompt(request.messages),
            "messages": messages.chat(request.messages),
            "model": target.model,
            "max_tokens": request.max_output_tokens,
            "min_tokens": request.min_output_tokens,
            "seed": request.index,
            "cache": request.cache != "cold",
            "reasoning": request.reasoning or None,
            "json_schema": passing.schema_of(request) if request.json_schema else None,
            "tools": msgspec.Raw(request.tools.encode()) if request.tools else None,
        }
        if not target.model and self.spec.asks_for("model"):
            raise UsageError(f"{self.spec.name} has to be told which model: --model NAME")
        accept = "text/event-stream" if self.spec.answer.framing == "sse" else "*/*"
        headers = self._headers(target, accept)
        where = _path(asked.path, values)
        if asked.method == "GET":
            return Call(method="GET", path=where, headers=headers)
        body = template.filled(self._body, values)
        return Call(
            method="POST",
            path=where,
            headers={"Content-Type": "application/json", **headers},
            body=calls.ENCODER.encode(calls.merged(body, target.extra_body) if target.extra_body else body),
        )

    def _check(self, request: Request) -> None:
        """Refuse what the specification has no place for: a UsageError."""
        spec = self.spec
        if not request.stream:
            at_once = spec.answer.framing == "json"
            raise UsageError(
                f"{spec.name} answers in one piece as it is; leave --stream out"
                if at_once
                else f"{spec.name} streams as it is described; for answers in one piece describe them so"
            )
        whole = spec.asks_for("messages")
        places = {
            "json_schema": spec.asks_for("json_schema"),
            "tools": spec.asks_for("tools") or (whole and not request.tools),
            "images": whole,
        }
        for name in sorted(passing.wanted(request)):
            if not places[name]:
                where = "{messages}" if name == "images" else f"{{{name}}}"
                raise UsageError(f'{spec.name} has no place for {name}: put "{where}" into the specification')

    def identify(self, target: Target) -> Call:
        """A GET of the path named for it, else of the request's own, which tells whether anybody is there."""
        who, asked = self.spec.identify, self.spec.request
        where = who.path if who else asked.path.partition("?")[0] if asked else "/"
        named = {"model": target.model or "model", "prompt": "", "messages": ""}
        values = dict.fromkeys(template.placeholders(where), "") | named
        return Call(
            method="GET", path=_path(where, values), headers=self._headers(target, "application/json")
        )

    def _headers(self, target: Target, accept: str) -> dict[str, str]:
        """Those of the specification over the usual ones; a key that it places itself goes nowhere else."""
        own = self.spec.request.headers if self.spec.request else {}
        places_key = "key" in template.placeholders(own)
        if places_key and not target.key:
            raise UsageError(
                f"{self.spec.name} wants a key: put it into a variable and add --api-key-env VARIABLE"
            )
        filled = {
            name: str(template.filled(value, {"key": target.key, "model": target.model}))
            for name, value in own.items()
        }
        usual = calls.headers(msgspec.structs.replace(target, key=None) if places_key else target, accept)
        theirs = {name.lower() for name in target.headers}
        mine = {name: value for name, value in filled.items() if name.lower() not in theirs}
        lower = {name.lower() for name in mine}
        return {name: value for name, value in usual.items() if name.lower() not in lower} | mine

    # ------------------------------------------------------------ reading

    def identity(self, tapes: Sequence[Tape]) -> Identity | None:
        """Whoever answers the GET as the specification says.

        With nothing said, any answer below 500 that doesn't ask for a key will do: a path that only takes
        POST refuses a GET with 404 or 405, and yet is there.
        """
        who, tape = self.spec.identify, tapes[0]
        details = {"spec": self.spec.digest[:12]}
        if who is None:
            there = 0 < tape.status < 500 and tape.status not in (401, 403)
            return Identity(server=self.spec.name, details=details) if there else None
        said = calls.answer(tape)
        if tape.status != 200 or (who.field and not any(paths.found(said, paths.steps(who.field)))):
            return None
        version = next(iter(_found(said, who.version)), "")
        return Identity(
            server=self.spec.name,
            version=str(version),
            models=tuple(one for one in _found(said, who.models) if isinstance(one, str)),
            details=details,
        )

    def decode(self, tape: Tape) -> Reply:
        """An answer, cut off anywhere or an error; events that can't be read make it `protocol`."""
        if tape.status >= 400:
            return self._refused(tape)
        answer = self.spec.answer
        pieces, ends, marked = _framed(tape.body, answer, plain=self._plain)
        events, facts = Events(), _Facts(done=marked)
        for piece, end, arrived_ns in zip(pieces, ends, sse.arrivals(tape, ends), strict=True):
            if self._plain:
                facts.read += 1
                events.add(CONTENT, piece.decode("utf-8", "replace"), arrived_ns)
                continue
            try:
                event = _value(piece)
            except ValueError:
                # What no line feed ends was cut off; events of a stream are always whole.
                facts.unreadable += answer.framing == "sse" or b"\n" in tape.body[end:]
                continue
            facts.read += 1
            self._note(event, facts)
            if answer.framing != "json":
                self._add(event, arrived_ns, events, facts)
            else:
                facts.whole = paths.text(event, self._text)
        if not pieces:
            self._note_refusal(tape.body, facts)
        ends_with_body = not answer.done and tape.framing_complete and facts.read > 0
        return events.reply(
            complete=facts.done or bool(facts.finish) or ends_with_body,
            finish_reason=facts.finish or None,
            server_timings=facts.timings,
            whole=facts.whole,
            error_kind=facts.error[0] or ("protocol" if facts.unreadable else ""),
            error_message=facts.error[1]
            or (f"{facts.unreadable} events of the stream could not be read" if facts.unreadable else ""),
            **{f"{name}_tokens": count for name, count in facts.counts.items()},
        )

    def _refused(self, tape: Tape) -> Reply:
        """An error status: its message from where the specification says, else from the usual places."""
        kind, message = error_kind(tape.status, tape.body)
        try:
            said = _value(tape.body)
        except ValueError:
            return Reply(error_kind=kind, error_message=message)
        if self.spec.answer.error != Answer(framing="json").error:
            for path in self._error:
                for error in paths.found(said, path):
                    kind, message = read_error(tape.status, error)
        return Reply(error_kind=kind, error_message=message)

    def _note_refusal(self, body: bytes, facts: "_Facts") -> None:
        """A stream was expected and one JSON object came: an error, if it is one."""
        try:
            said = _value(body)
        except ValueError:
            return
        self._note_error(said, facts)

    def _note(self, event: Any, facts: "_Facts") -> None:
        """Everything but the text."""
        self._note_error(event, facts)
        if self._finish is not None:
            facts.finish = next((str(one) for one in paths.found(event, self._finish) if one), facts.finish)
        for name, path in self._usage.items():
            if path is not None and (count := paths.number(event, path)) is not None and count >= 0:
                before = (
                    facts.counts.get(name, 0) if name == "output" and self.spec.usage.count == "sum" else 0
                )
                facts.counts[name] = before + round(count)
        for name, (path, times) in self._timings.items():
            if (value := paths.number(event, path)) is not None:
                facts.timings[name] = value * times
        done = self.spec.answer.done
        facts.done = facts.done or (isinstance(done, Match) and done.fits(event))

    def _note_error(self, event: Any, facts: "_Facts") -> None:
        """The first error; false, 0 and empty ones say that there is none."""
        for path in () if facts.error[0] else self._error:
            for error in paths.found(event, path):
                if error:
                    facts.error = read_error(0, error)
                    return

    def _add(self, event: Any, arrived_ns: int, events: Events, facts: "_Facts") -> None:
        """The event's text, if it has any; of a text that grows, what is new."""
        answer = self.spec.answer
        for kind, where, only in (
            (CONTENT, self._text, answer.text_if),
            (REASONING, self._reasoning, answer.reasoning_if),
        ):
            if only is not None and not only.fits(event):
                continue
            said = paths.text(event, where)
            if said and answer.cumulative:
                said = facts.new(kind, said)
            if said:
                events.add(kind, said, arrived_ns)
                return


class _Facts:
    """What is known of one answer besides its events, while it is read."""

    __slots__ = ("_so_far", "counts", "done", "error", "finish", "read", "timings", "unreadable", "whole")

    def __init__(self, *, done: bool) -> None:
        self.done, self.finish, self.read, self.unreadable = done, "", 0, 0
        self.whole = ""
        self.error = ("", "")
        self.counts: dict[str, int] = {}
        self.timings: dict[str, float] = {}
        self._so_far: dict[int, str] = {}

    def new(self, kind: int, text: str) -> str:
        """What `text` adds to the text so far; a server may also change its last letters."""
        before = self._so_far.get(kind, "")
        self._so_far[kind] = text
        if text.startswith(before):
            return text[len(before) :]
        alike = next(
            (at for at, (one, other) in enumerate(zip(before, text, strict=False)) if one != other), len(text)
        )
        return text[alike:]


def _framed(body: bytes, answer: Answer, *, plain: bool) -> tuple[list[bytes], list[int], bool]:
    """What came, piece by piece, where each ends, and whether a marker said that it was all."""
    if answer.framing == "json":
        return ([body.strip()], [len(body)], False) if body.strip() else ([], [], False)
    if answer.framing == "sse":
        clean = sse.split_clean(body)
        pieces, ends = sse.split_lines(body) if clean is None else clean
    else:
        pieces, ends = _lines(body, answer.prefix.encode(), unended=not plain)
    markers = {answer.done.encode()} if isinstance(answer.done, str) and answer.done else set()
    if answer.framing == "sse" and not plain:
        markers.add(sse.DONE)
    at = (
        next((place for place, piece in enumerate(pieces) if piece.strip() in markers), None)
        if markers
        else None
    )
    return (pieces, ends, False) if at is None else (pieces[:at], ends[:at], True)


def _lines(body: bytes, prefix: bytes, *, unended: bool) -> tuple[list[bytes], list[int]]:
    """Lines that aren't blank, and where each ends.

    JSON is whole with its last brace, so its last line needs no line feed (`unended`); a text might go on.
    """
    pieces: list[bytes] = []
    ends: list[int] = []
    start = 0
    *whole, last = body.split(b"\n")
    for line in (*whole, last) if unended else whole:
        piece = line.rstrip() if unended else line.removesuffix(b"\r")
        if piece.startswith(prefix) and piece != prefix:
            pieces.append(piece[len(prefix) :])
            ends.append(start + (len(piece) if unended else len(line) + 1))
        start += len(line) + 1
    return pieces, ends


def _value(piece: bytes) -> Any:
    """The JSON of a piece, with broken characters replaced if need be; a ValueError: it is none."""
    for text in (piece, piece.decode("utf-8", "replace").encode()):
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    raise ValueError("no JSON")


def _optional(path: str) -> Steps | None:
    return paths.steps(path) if path else None


def _found(value: Any, path: str) -> list[Any]:
    return list(paths.found(value, paths.steps(path))) if path else []


def _path(path: str, values: Mapping[str, Any]) -> str:
    """A path with its placeholders filled in, safe in a URL."""
    quoted = {name: quote(str(value), safe="") for name, value in values.items()}
    return str(template.filled(path, quoted))
