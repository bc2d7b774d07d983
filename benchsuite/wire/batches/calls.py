"""What the batch APIs have in common: calls like the driver's own, single requests, single answers."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from benchsuite.driver import Driver
from benchsuite.errors import UsageError
from benchsuite.types import Call, Message, Reply, Request, Tape, Target

_T = TypeVar("_T")

_ANY: Final = Request(
    index=0,
    phase="warm_up",
    messages=(Message(role="user", content="."),),
    max_output_tokens=1,
    min_output_tokens=1,
    cache="cold",
)
_STREAMED: Final = frozenset({"stream", "stream_options"})


def live(driver: Driver, target: Target) -> Call:
    """Some live call of this target: its path, key and version headers are a batch's too."""
    return driver.encode(_ANY, target)


def get(like: Call, path: str) -> Call:
    """A GET of `path` with the headers of another call."""
    return Call(method="GET", path=path, headers=_headers(like))


def post(like: Call, path: str, body: object | None = None) -> Call:
    """A POST of JSON with the headers of another call; without a body it is empty."""
    data = b"" if body is None else msgspec.json.encode(body)
    more = {} if body is None else {"Content-Type": "application/json"}
    return Call(method="POST", path=path, headers=_headers(like) | more, body=data)


def _headers(like: Call) -> dict[str, str]:
    kept = {name: value for name, value in like.headers.items() if name.lower() != "content-type"}
    given = next((name for name in kept if name.lower() == "accept"), "Accept")
    return kept | {given: "application/json"}


def bodies(
    driver: Driver, requests: Sequence[tuple[str, Request]], target: Target
) -> Iterator[tuple[str, Call, dict[str, Any]]]:
    """Each request's custom id, its live call, and that call's body without what asks for a stream."""
    for custom_id, request in requests:
        call = driver.encode(request, target)
        body = msgspec.json.decode(request.body or call.body)
        yield custom_id, call, {name: value for name, value in body.items() if name not in _STREAMED}


def read(tape: Tape, shape: type[_T]) -> _T | None:
    """A successful answer as `shape`; None: it is anything else."""
    if not 200 <= tape.status < 300:
        return None
    try:
        return msgspec.json.decode(tape.body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def lines(tape: Tape, shape: type[_T]) -> Iterator[_T]:
    """The lines of a JSONL answer that can be read as `shape`; the others are passed over."""
    decoder = msgspec.json.Decoder(shape)
    for line in tape.body.split(b"\n"):
        if line.strip():
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue


def answered(driver: Driver, status: int, body: bytes) -> Reply:
    """One answer, which came whole, as the driver reads it. It has no token events: nobody saw it arrive."""
    return driver.decode(Tape(index=0, status=status, body=body, framing_complete=True))


def given_up(kind: str, message: str = "") -> tuple[int, Reply]:
    """Status and reply of a request that the server never got to: `expired` or `cancelled`."""
    return 0, Reply(error_kind=kind, error_message=message)


def seconds(stamp: str | None) -> float | None:
    """Seconds since 1970 of a time as RFC 3339 has it; None: there is none, or it can't be read."""
    try:
        return datetime.fromisoformat(stamp).timestamp() if stamp else None
    except ValueError:
        return None


def between(start_s: float | None, end_s: float | None) -> float | None:
    """From one instant to another, in seconds; None where one is missing or nothing lies between them."""
    return None if start_s is None or end_s is None or end_s <= start_s else end_s - start_s


def check_size(what: str, number: int, most: int, unit: str) -> None:
    """A UsageError where a batch would be more than its server takes."""
    if number > most:
        raise UsageError(
            f"{what} takes {most:,} {unit} in one batch, these are {number:,}: "
            "lower --requests, or ask in several runs"
        )


def text(fields: Mapping[str, Any] | None, name: str) -> str:
    """A field that should be text; empty where it isn't."""
    value = (fields or {}).get(name)
    return value if isinstance(value, str) else ""
