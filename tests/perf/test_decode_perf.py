"""What decoding an answer costs: `pytest tests/perf --benchmark-enable` prints µs per event as extra info."""

from typing import Any

import pytest

from benchsuite.testing import request, tape
from benchsuite.types import Tape, Target
from benchsuite.wire import openai

EVENTS = 100
EVENT = (
    b'data: {"id":"chatcmpl-899549818b5689fa","object":"chat.completion.chunk","created":1795456659,'
    b'"model":"bench","choices":[{"index":0,"delta":{"content":" version"},"logprobs":null,'
    b'"finish_reason":null,"token_ids":null}]}\n\n'
)
BODY = EVENT * EVENTS + b"data: [DONE]\n\n"
ENDS = [*(len(EVENT) * (i + 1) for i in range(EVENTS)), len(BODY)]
COMMENT = b": keep-alive\n\n"
CRLF = BODY.replace(b"\n", b"\r\n")

TAPES = {
    "one event per read": tape(BODY, ends=ENDS),
    "16 events per read": tape(BODY, ends=[*ENDS[15:-1:16], len(BODY)]),
    "all in one read": tape(BODY),
    "lines: a comment first": tape(COMMENT + BODY, ends=[len(COMMENT) + end for end in ENDS]),
    "lines: CRLF": tape(CRLF, ends=[end + 2 * i + 2 for i, end in enumerate(ENDS)]),
}


@pytest.mark.parametrize("heard", TAPES.values(), ids=TAPES.keys())
def test_decode(benchmark: Any, heard: Tape) -> None:
    reply = benchmark(openai.decode, heard)
    assert len(reply.arrival_ns) == EVENTS
    if benchmark.stats:
        benchmark.extra_info["us_per_event"] = round(benchmark.stats["min"] * 1e6 / EVENTS, 2)


def test_encode(benchmark: Any) -> None:
    target = Target(backend="openai", url="http://127.0.0.1:8000", model="m", key="k")
    call = benchmark(openai.chat_call, request("hello world " * 20), target, extra={"ignore_eos": True})
    assert b"hello world" in call.body
