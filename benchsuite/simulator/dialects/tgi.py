"""Text Generation Inference's own API."""

from typing import Any, ClassVar

import msgspec

from benchsuite.simulator.asked import Answer, Asked, Refused, decoded, room
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.dialect import Api, Piece, Varies, Vocabulary, encode
from benchsuite.simulator.dialects import openai_errors
from benchsuite.simulator.dialects.timings import tgi_headers
from benchsuite.simulator.http import Page, json
from benchsuite.simulator.shaped import fitting
from benchsuite.simulator.tokens import token_id, tokens_of


class _Grammar(msgspec.Struct, gc=False):
    value: Any = None


class _Parameters(msgspec.Struct, gc=False):
    max_new_tokens: int | None = None
    temperature: float | None = None
    details: bool = False
    grammar: _Grammar | None = None


class _Body(msgspec.Struct, gc=False):
    inputs: str
    parameters: _Parameters | None = None
    stream: bool = False


_BODY = msgspec.json.Decoder(_Body)


class TGI(Api):
    """Kinds `stream`, `whole`, and `either`, whose whole answer is a list; form `details`."""

    media: ClassVar[str] = "text/event-stream"

    def __init__(self, config: SimConfig) -> None:
        self._config = config
        self._words = Vocabulary(config)
        self._text, self._content = self._words.text, self._words.content

    def read(self, incoming: Incoming, kind: str, found: dict[str, str]) -> Asked | Page:
        """A prompt, taken as it is."""
        config = self._config
        said = decoded(_BODY, incoming.body)
        parameters = said.parameters or _Parameters()
        if parameters.temperature is not None and parameters.temperature <= 0:
            raise Refused("invalid", "Input validation error: `temperature` must be strictly positive")
        prompt = said.inputs.split()
        if not prompt:
            raise Refused("invalid", "Input validation error: `inputs` cannot be empty")
        return Asked(
            kind=kind,
            model=config.model,
            prompt=prompt if config.prefix_cache else [],
            prompt_tokens=len(prompt),
            output_tokens=room(config, len(prompt), parameters.max_new_tokens, "max_new_tokens"),
            stream=kind == "stream" or (kind == "either" and said.stream),
            forms=("details",) if parameters.details else (),
            said=fitting(parameters.grammar.value) if parameters.grammar else (),
        )

    def varies(self, asked: Asked) -> Varies:
        """Events are numbered."""
        return "number"

    def headers(self, asked: Asked) -> str:
        """All that a stream tells."""
        return "x-compute-type: cpu+benchsuite-sim\r\nx-accel-buffering: no\r\n"

    def comment(self, asked: Asked) -> bytes:
        """An empty comment."""
        return b":\n\n"

    def event(self, asked: Asked, piece: Piece, answer: Answer | None) -> bytes:
        """One token."""
        return self._event(piece, None, None)

    def final(self, answer: Answer, piece: Piece) -> list[bytes]:
        """The last token, with the text once more; nothing follows."""
        details = self._details(answer) if "details" in answer.asked.forms else None
        return [self._event(piece, self._content(answer), details)]

    def broken(self, answer: Answer, piece: Piece) -> bytes:
        """An error instead of a token."""
        return b'data:{"error":"simulated error","error_type":"incomplete_generation"}\n\n'

    def whole(self, answer: Answer) -> Page:
        """The text."""
        body: dict[str, object] = {"generated_text": self._content(answer)}
        if "details" in answer.asked.forms:
            texts = [self._text(i, 1) for i in range(answer.tokens)]
            more = {"prefill": [], "tokens": [_token(text) for text in texts]}
            body["details"] = self._details(answer) | more
        headers = "" if self._config.timings is False else tgi_headers(answer)
        said = [body] if answer.asked.kind == "either" else body
        return Page(body=encode(said), headers=headers)

    def refusal(self, refused: Refused) -> Page:
        """As on its other doors."""
        return openai_errors.tgi(refused, self._config)

    def info(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Who it is."""
        config = self._config
        return json(
            {
                "model_id": config.model,
                "model_sha": None,
                "model_pipeline_tag": "text-generation",
                "max_concurrent_requests": config.slots or 128,
                "max_best_of": 2,
                "max_stop_sequences": 4,
                "max_input_tokens": config.context_tokens - 1,
                "max_total_tokens": config.context_tokens,
                "validation_workers": 1,
                "max_client_batch_size": 4,
                "router": "text-generation-router",
                "version": "3.3.7+sim",
                "sha": None,
                "docker_label": None,
            }
        )

    def tokenize(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """The words and where they stand."""
        return json(tokens_of(decoded(_BODY, incoming.body).inputs))

    def _event(self, piece: Piece, text: str | None, details: dict[str, object] | None) -> bytes:
        data = {
            "index": piece.number + 1,
            "token": _token(piece.text),
            "generated_text": text,
            "details": details,
        }
        return b"data:%b\n\n" % encode(data)

    def _details(self, answer: Answer) -> dict[str, object]:
        return {
            "finish_reason": "eos_token" if answer.stopped else "length",
            "generated_tokens": answer.tokens,
            "seed": None,
            "input_length": answer.asked.prompt_tokens,
        }


def _token(text: str) -> dict[str, object]:
    return {"id": token_id(text.strip()), "text": text, "logprob": -0.5, "special": False}
