"""A small service with a streaming format of its own: lines of JSON at one door, a growing text at another.

It pauses as `FIRST_S` and `NEXT_S` say, and writes down what it really did, a line of JSON an answer, into
the file named by the environment's APP_LOG.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

FIRST_S, NEXT_S = 0.060, 0.008
WORDS = ("alpha", "beta", "gamma", "delta")

app = FastAPI()


class Ask(BaseModel):
    """What both doors take."""

    text: str
    limit: int
    exactly: bool = False
    model: str = "tiny"


def _allowed(key: str | None) -> None:
    if key != os.environ.get("APP_KEY", key):
        raise HTTPException(401, "no such key")


async def _words(ask: Ask, request_id: str | None) -> AsyncIterator[str]:
    """One word after another, and a line in the log when the last has been handed over."""
    due, sent_ns = time.monotonic() + FIRST_S, []
    received_ns = time.monotonic_ns()
    for number in range(ask.limit):
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due += NEXT_S
        sent_ns.append(time.monotonic_ns())
        yield f" {WORDS[number % len(WORDS)]}"
    if log := os.environ.get("APP_LOG"):
        entry = {
            "id": request_id,
            "received_ns": received_ns,
            "sent_ns": sent_ns,
            "prompt": len(ask.text.split()),
        }
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


@app.get("/about")
def about() -> dict[str, object]:
    """Who this is."""
    return {"service": "storyteller", "version": "1.4", "models": [{"id": "tiny"}]}


@app.post("/stories")
async def stories(ask: Ask, request: Request, x_story_key: str | None = Header(None)) -> StreamingResponse:
    """Lines of JSON: `{"tok": …, "n": …}`, and at the end `{"stats": …}`."""
    _allowed(x_story_key)

    async def lines() -> AsyncIterator[bytes]:
        number = 0
        async for word in _words(ask, request.headers.get("x-request-id")):
            number += 1
            yield json.dumps({"tok": word, "n": number}).encode() + b"\n"
        stats = {"in": len(ask.text.split()), "out": number, "why": "limit"}
        yield json.dumps({"stats": stats}).encode() + b"\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@app.post("/stories/growing")
async def growing(ask: Ask, request: Request, x_story_key: str | None = Header(None)) -> StreamingResponse:
    """Server-sent events that repeat the text so far; the last one says that it is over."""
    _allowed(x_story_key)

    async def events() -> AsyncIterator[bytes]:
        text = ""
        async for word in _words(ask, request.headers.get("x-request-id")):
            text += word
            yield b"data: " + json.dumps({"state": "going", "text": text}).encode() + b"\n\n"
        yield b"data: " + json.dumps({"state": "over", "text": text}).encode() + b"\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
