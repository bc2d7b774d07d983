"""What servers say of their own time, under their own names, as milliseconds under ours.

Records keep the raw names and units (`Reply.server_timings`); here is the one table that reads them:
vLLM's `metrics`, llama.cpp's `timings`, Ollama's durations, LM Studio's stats, TGI's headers, Groq's and
Cerebras' usage, and the plain names that a third party's driver should use. Of a nested name only the last
part counts, in any case, `-` being `_`.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Part = Literal["queue", "prefill", "first", "decode", "load", "total", "whole", "drafted", "accepted"]
"""`first`: from the request's coming to its first token, in the server's own account. `total` ends with the
answer; `whole` does too, but only of answers that weren't streamed: a header is written before a stream."""

_NS, _US, _S = 1e-6, 1e-3, 1e3

NAMES: Final[Mapping[str, tuple[Part, float]]] = MappingProxyType(
    {
        # Ours, for drivers of third parties.
        "queue_ms": ("queue", 1.0),
        "prefill_ms": ("prefill", 1.0),
        "first_token_ms": ("first", 1.0),
        "decode_ms": ("decode", 1.0),
        "load_ms": ("load", 1.0),
        "total_ms": ("total", 1.0),
        "drafted_tokens": ("drafted", 1.0),
        "accepted_tokens": ("accepted", 1.0),
        # vLLM: its time to first token begins when the request is scheduled, so the queue isn't in it.
        "queue_time_ms": ("queue", 1.0),
        "time_to_first_token_ms": ("prefill", 1.0),
        "generation_time_ms": ("decode", 1.0),
        "num_draft_tokens": ("drafted", 1.0),
        "num_accepted_draft_tokens": ("accepted", 1.0),
        # llama.cpp
        "prompt_ms": ("prefill", 1.0),
        "predicted_ms": ("decode", 1.0),
        "draft_n": ("drafted", 1.0),
        "draft_n_accepted": ("accepted", 1.0),
        # Ollama, in ns; prefill is of the uncached part of the prompt
        "load_duration": ("load", _NS),
        "prompt_eval_duration": ("prefill", _NS),
        "eval_duration": ("decode", _NS),
        "total_duration": ("total", _NS),
        # LM Studio: v1 and v0
        "time_to_first_token_seconds": ("first", _S),
        "time_to_first_token": ("first", _S),
        "model_load_time_seconds": ("load", _S),
        "generation_time": ("decode", _S),
        # TGI's headers, of answers that aren't streamed
        "x_queue_time": ("queue", 1.0),
        "x_total_time": ("whole", 1.0),
        # Groq's and Cerebras' usage, in s; whether their total holds the queue wasn't checked: it isn't read
        "queue_time": ("queue", _S),
        "prompt_time": ("prefill", _S),
        "completion_time": ("decode", _S),
        # SGLang's native door; that its first token's latency holds the queue wasn't checked
        "first_token_latency": ("first", _S),
        "e2e_latency": ("total", _S),
        # Fireworks: headers, and perf_metrics; its docs name no unit, those who read it take seconds
        "fireworks_server_time_to_first_token": ("first", _S),
        "fireworks_server_processing_time": ("whole", _S),
        "server_time_to_first_token": ("first", _S),
        # OpenAI's and LiteLLM's headers
        "openai_processing_ms": ("whole", 1.0),
        "x_litellm_response_duration_ms": ("whole", 1.0),
        # Bedrock (from memory, not checked)
        "latencyms": ("total", 1.0),
    }
)
"""A raw name, its last part in lower case with `_` for `-` → what it is, and its unit in ms (or tokens)."""


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """One entry a request: ms, or tokens (`drafted`, `accepted`); NaN where the server is silent."""

    queue: Floats
    prefill: Floats
    first: Floats
    decode: Floats
    load: Floats
    total: Floats
    whole: Floats
    drafted: Floats
    accepted: Floats

    @property
    def to_first_token(self) -> Floats:
        """From the request's coming to its first token: as told, else load + queue + prefill.

        What isn't told of load and queue is nothing here, so that it stays in what is left of TTFT.
        """
        parts = np.nan_to_num(self.load) + np.nan_to_num(self.queue) + self.prefill
        return np.where(np.isnan(self.first), parts, self.first)

    @property
    def times(self) -> tuple[Floats, ...]:
        """All that is in milliseconds."""
        return self.queue, self.prefill, self.first, self.decode, self.load, self.total, self.whole


def silent(count: int) -> Timings:
    """Of so many requests nothing is known."""
    nothing = np.full(count, np.nan)
    return Timings(**dict.fromkeys(Timings.__struct_fields__, nothing))


def timings(texts: Iterable[str | None], count: int) -> Timings:
    """The timings of `count` requests, each a JSON object of raw names and numbers, or None."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    places = {part: place for place, part in enumerate(Timings.__struct_fields__)}
    found = np.full((len(places), count), np.nan)
    known: dict[str, tuple[int, float] | None] = {}
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for column, text in enumerate(texts):
        if not text:
            continue
        for name, value in decode(text).items():
            if name not in known:
                meaning = NAMES.get(name.rpartition(".")[2].lower().replace("-", "_"))
                known[name] = None if meaning is None else (places[meaning[0]], meaning[1])
            where = known[name]
            if where is not None and isinstance(value, int | float):
                rows.append(where[0])
                columns.append(column)
                values.append(value * where[1])
    found[rows, columns] = values
    return Timings(**{part: found[place] for part, place in places.items()})
