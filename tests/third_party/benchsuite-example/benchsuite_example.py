"""A made-up server that streams lines of JSON: `{"say": …}` and at the end `{"in": …, "out": …}`."""

from typing import Any

import msgspec

from benchsuite.driver import Capabilities, Launch
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, ndjson
from benchsuite.wire.errors import error_kind, read_error
from benchsuite.wire.events import CONTENT, Events

LINES = msgspec.json.Decoder(dict[str, Any])


class Example:
    name = "example"
    title = "Example"
    default_url = "http://127.0.0.1:7000"
    key_variables = ("EXAMPLE_KEY",)
    options = {}
    capabilities = Capabilities(
        exact_output=True,
        cache_off=False,
        cached_tokens=False,
        server_timings=False,
        launch=False,
        endpoints=("say",),
        sampling="no",
    )
    settings = {}

    def launch(self, target: Target) -> Launch | None:
        return None

    def identify(self, target: Target) -> tuple[Call, ...]:
        return (calls.get(target, "/about"),)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        said = calls.answer(tapes[0])
        return Identity(server="example", version=str(said["example"])) if "example" in said else None

    def encode(self, request: Request, target: Target) -> Call:
        text = "\n\n".join(message.content for message in request.messages)
        body = {"text": text, "words": request.max_output_tokens}
        return calls.post(target, "/say", body, accept="application/x-ndjson")

    def decode(self, tape: Tape) -> Reply:
        if tape.status >= 400:
            kind, message = error_kind(tape.status, tape.body)
            return Reply(error_kind=kind, error_message=message)
        stream = ndjson.decode(tape, LINES)
        events, last, error = Events(), {}, ("protocol", "") if stream.unreadable else ("", "")
        for line, arrived_ns in zip(stream.chunks, stream.arrival_ns, strict=True):
            if "error" in line:
                error = read_error(0, line)
            elif "out" in line:
                last = line
            else:
                events.add(CONTENT, line.get("say"), arrived_ns)
        return events.reply(
            complete=bool(last),
            prompt_tokens=last.get("in"),
            output_tokens=last.get("out"),
            error_kind=error[0],
            error_message=error[1],
        )
