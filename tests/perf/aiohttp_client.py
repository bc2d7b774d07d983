"""A minimal aiohttp client, the usual way to write one: what it reports beside what is true."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import aiohttp

Result = tuple[str, int, list[int]]
"""Request id, sent, and the instants at which the client saw each token event (monotonic ns)."""


async def _one(session: aiohttp.ClientSession, url: str, request_id: str, tokens: int) -> Result:
    body: dict[str, Any] = {
        "model": "sim-model",
        "messages": [{"role": "user", "content": "How far off is this machine?"}],
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    seen: list[int] = []
    sent_ns = time.monotonic_ns()
    async with session.post(url, json=body, headers={"X-Request-Id": request_id}) as response:
        async for line in response.content:
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            choices = json.loads(line[6:])["choices"]
            if choices and choices[0]["delta"].get("content"):
                seen.append(time.monotonic_ns())
    return request_id, sent_ns, seen


async def _all(url: str, streams: int, requests: int, tokens: int) -> list[Result]:
    numbers = iter(range(requests))
    found: list[Result] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def slot() -> None:
            for number in numbers:
                found.append(await _one(session, url, f"aio-{number}", tokens))

        await asyncio.gather(*(slot() for _ in range(streams)))
    return found


def drive(url: str, streams: int, requests: int, tokens: int) -> list[Result]:
    """Send `requests` over `streams` slots and return what was seen."""
    return asyncio.run(_all(f"{url}/v1/chat/completions", streams, requests, tokens))


def main(arguments: Sequence[str]) -> None:
    """`python aiohttp_client.py URL STREAMS REQUESTS TOKENS`: for its CPU time alone."""
    url, streams, requests, tokens = arguments
    drive(url, int(streams), int(requests), int(tokens))


if __name__ == "__main__":
    main(sys.argv[1:])
