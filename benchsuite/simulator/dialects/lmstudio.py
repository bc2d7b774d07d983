"""LM Studio's own API: named events, models that are loaded and downloaded."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

import msgspec

from benchsuite.simulator.asked import Answer, Asked, Part, Refused, decoded, known, room, texts, words
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.dialect import Api, Piece, Vocabulary, named_event
from benchsuite.simulator.dialects.timings import rate
from benchsuite.simulator.http import Page, json

_ERRORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{"invalid": "invalid_request", "context": "invalid_request", "key": "invalid_request"},
        **{"model": "model_not_found", "path": "invalid_request", "method": "invalid_request"},
        **{"rate_limit": "internal_error", "failed": "internal_error", "overloaded": "internal_error"},
    }
)
_SIZE_BYTES: Final = 1_000_000


class _Item(msgspec.Struct, gc=False):
    content: str | list[Part] | None = None
    text: str | None = None


class _Body(msgspec.Struct, gc=False):
    model: str
    input: str | list[_Item]
    system_prompt: str = ""
    stream: bool = False
    max_output_tokens: int | None = None
    reasoning: str | None = None
    context_length: int | None = None
    store: bool = True


class _Load(msgspec.Struct, gc=False):
    model: str
    context_length: int | None = None
    parallel: int | None = None
    echo_load_config: bool = False


class _Unload(msgspec.Struct, gc=False):
    instance_id: str


_BODY = msgspec.json.Decoder(_Body)
_LOAD = msgspec.json.Decoder(_Load)
_UNLOAD = msgspec.json.Decoder(_Unload)


class LMStudio(Api):
    """One kind; form `stored`. Remembers which models are loaded, with what, and what was downloaded."""

    media: ClassVar[str] = "text/event-stream"

    def __init__(self, config: SimConfig) -> None:
        self._config = config
        self._text = Vocabulary(config).text
        self._loaded: dict[str, dict[str, object]] = {}
        self._there: dict[str, None] = {config.model: None}
        self._jobs: dict[str, dict[str, object]] = {}

    # ------------------------------------------------------------ in

    def read(self, incoming: Incoming, kind: str, found: dict[str, str]) -> Asked | Page:
        """A text or items; a model that isn't loaded is."""
        config = self._config
        said = decoded(_BODY, incoming.body)
        self._check(said.model)
        load_ns = 0
        if said.model not in self._loaded:
            self._loaded[said.model] = self._settings(said.context_length, None)
            load_ns = round(config.load_ms * 1e6)
        given = [said.input] if isinstance(said.input, str) else _texts(said.input)
        prompt = [""] * config.template_tokens + words([said.system_prompt, *given])
        return Asked(
            kind=kind,
            model=said.model,
            prompt=prompt if config.prefix_cache else [],
            prompt_tokens=len(prompt),
            output_tokens=room(config, len(prompt), said.max_output_tokens, "max_output_tokens"),
            stream=said.stream,
            forms=("stored",) if said.store else (),
            reasoning=0 if said.reasoning == "off" else config.reasoning_tokens,
            load_ns=load_ns,
        )

    def _check(self, model: str) -> None:
        if model not in self._there:
            known(self._config, model)

    def _settings(self, context: int | None, parallel: int | None) -> dict[str, object]:
        return {
            "context_length": min(context or 4096, self._config.context_tokens),
            "eval_batch_size": 512,
            "parallel": parallel or self._config.slots or 4,
            "flash_attention": True,
            "offload_kv_cache_to_gpu": True,
        }

    # ------------------------------------------------------------ streams

    def opening(self, answer: Answer) -> bytes:
        """The model, if need be loaded, then the prompt, all at once."""
        asked = answer.asked
        instance: dict[str, object] = {"model_instance_id": asked.model}
        data = named_event("chat.start", instance)
        if asked.load_ns:
            data += named_event("model_load.start", instance)
            data += named_event("model_load.progress", instance | {"progress": 1.0})
            data += named_event("model_load.end", instance | {"load_time_seconds": asked.load_ns / 1e9})
        data += named_event("prompt_processing.start", {})
        data += named_event("prompt_processing.progress", {"progress": 1.0})
        data += named_event("prompt_processing.end", {})
        return data + named_event("reasoning.start" if asked.reasoning else "message.start", {})

    def event(self, asked: Asked, piece: Piece, answer: Answer | None) -> bytes:
        """One delta."""
        name = "reasoning.delta" if piece.kind == "reasoning" else "message.delta"
        return named_event(name, {"content": piece.text})

    def turn(self, answer: Answer) -> bytes:
        """Reasoning ends, the message begins."""
        return named_event("reasoning.end", {}) + named_event("message.start", {})

    def final(self, answer: Answer, piece: Piece) -> list[bytes]:
        """The last delta and the whole result."""
        name = "reasoning.end" if piece.kind == "reasoning" else "message.end"
        end = named_event(name, {}) + named_event("chat.end", {"result": self._result(answer)})
        return [self.event(answer.asked, piece, answer), end]

    def broken(self, answer: Answer, piece: Piece) -> bytes:
        """An error; the end follows all the same, with what there was."""
        error = {"type": "internal_error", "message": "simulated error", "code": "unknown", "param": None}
        said = msgspec.structs.replace(answer, tokens=max(1, piece.number), reasoning=0)
        return named_event("error", {"error": error}) + named_event(
            "chat.end", {"result": self._result(said)}
        )

    # ------------------------------------------------------------ whole answers

    def whole(self, answer: Answer) -> Page:
        """The result."""
        return json(self._result(answer))

    def refusal(self, refused: Refused) -> Page:
        """Type and message."""
        error: dict[str, object] = {"type": _ERRORS[refused.reason], "message": refused.message}
        if refused.room:
            error["code"] = "context_length_exceeded"
        return json({"error": error}, refused.status)

    def _result(self, answer: Answer) -> dict[str, object]:
        times, asked = answer.times, answer.asked
        output: list[object] = []
        if answer.reasoning:
            output.append({"type": "reasoning", "content": self._text(0, answer.reasoning)})
        if answer.tokens > answer.reasoning:
            text = self._text(0, answer.tokens - answer.reasoning)
            output.append({"type": "message", "content": text})
        stats: dict[str, object] = {
            "input_tokens": asked.prompt_tokens,
            "total_output_tokens": answer.tokens,
            "reasoning_output_tokens": answer.reasoning,
        }
        if self._config.timings is not False:
            stats["tokens_per_second"] = rate(answer.tokens, times.decode_ns)
            stats["time_to_first_token_seconds"] = times.prefill_ns / 1e9
            if asked.load_ns:
                stats["model_load_time_seconds"] = asked.load_ns / 1e9
        result: dict[str, object] = {"model_instance_id": asked.model, "output": output}
        if self._config.usage:
            result["stats"] = stats
        return result | {"response_id": "resp_sim"} if "stored" in asked.forms else result

    # ------------------------------------------------------------ pages

    def models(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Models that are there, with those of them that are loaded."""
        return json({"models": [self._card(model) for model in dict.fromkeys([*self._there, *self._loaded])]})

    def load(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Load a model; takes as long as the configuration says."""
        said = decoded(_LOAD, incoming.body)
        self._check(said.model)
        settings = self._settings(said.context_length, said.parallel)
        self._loaded[said.model] = settings
        load_s = self._config.load_ms / 1e3
        body: dict[str, object] = {
            **{"type": "llm", "instance_id": said.model, "load_time_seconds": load_s, "status": "loaded"},
        }
        if said.echo_load_config:
            body["load_config"] = settings
        return json(body, delay_ns=round(load_s * 1e9))

    def unload(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Unload a model."""
        said = decoded(_UNLOAD, incoming.body)
        if self._loaded.pop(said.instance_id, None) is None:
            raise Refused("model", "no such model is loaded")
        return json({"instance_id": said.instance_id})

    def download(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Begin a download, which is over as soon as it is asked after."""
        model = decoded(_LOAD, incoming.body).model
        if model in self._there:
            return json({"status": "already_downloaded"})
        self._there[model] = None
        name = f"job_sim{len(self._jobs) + 1}"
        job: dict[str, object] = {
            "job_id": name,
            "total_size_bytes": _SIZE_BYTES,
            "started_at": "2026-01-01T00:00:00.000Z",
        }
        over = {
            "status": "completed",
            "downloaded_bytes": _SIZE_BYTES,
            "completed_at": "2026-01-01T00:00:01.000Z",
        }
        self._jobs[name] = job | over
        under_way = {"status": "downloading", "downloaded_bytes": 0, "bytes_per_second": _SIZE_BYTES}
        return json(job | under_way | {"estimated_completion": "2026-01-01T00:00:01.000Z"})

    def job(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """How far one download is."""
        if found["job"] not in self._jobs:
            raise Refused("model", "there is no such job")
        return json(self._jobs[found["job"]])

    def jobs(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """How far all are."""
        return json({"downloading": [], "completed": list(self._jobs.values()), "failed": [], "paused": []})

    def _card(self, model: str) -> dict[str, object]:
        instances = [{"id": model, "config": self._loaded[model]}] if model in self._loaded else []
        return {
            "type": "llm",
            "publisher": "benchsuite",
            "key": model,
            "display_name": f"{model}+sim",
            "architecture": "sim",
            "quantization": {"name": "Q8_0", "bits_per_weight": 8},
            "size_bytes": _SIZE_BYTES,
            "params_string": "1M",
            "loaded_instances": instances,
            "max_context_length": self._config.context_tokens,
            "format": "gguf",
            "capabilities": {"vision": False, "trained_for_tool_use": False},
            "description": None,
        }


def _texts(items: list[_Item]) -> list[str]:
    return [text for item in items for text in (*texts(item.content), item.text or "")]
