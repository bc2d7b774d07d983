"""SGLang's own API, where each event holds all of the text so far."""

from typing import Any, ClassVar

import msgspec

from benchsuite.simulator.asked import Answer, Asked, Refused, decoded, room
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.dialect import Api, Piece, Varies, Vocabulary, encode
from benchsuite.simulator.dialects import openai_errors
from benchsuite.simulator.http import Page, json
from benchsuite.simulator.shaped import fitting


class _Sampling(msgspec.Struct, gc=False):
    max_new_tokens: int | None = None
    min_new_tokens: int = 0
    ignore_eos: bool = False
    json_schema: str | None = None


class _Body(msgspec.Struct, gc=False):
    text: str | None = None
    input_ids: list[int] | None = None
    sampling_params: _Sampling | None = None
    stream: bool = False
    cache_salt: str | None = None


_BODY = msgspec.json.Decoder(_Body)
_SCHEMA = msgspec.json.Decoder(dict[str, Any])


class SGLang(Api):
    """One kind; a prompt is taken as it is."""

    media: ClassVar[str] = "text/event-stream; charset=utf-8"

    def __init__(self, config: SimConfig) -> None:
        self._config = config
        self._content = Vocabulary(config).content

    def read(self, incoming: Incoming, kind: str, found: dict[str, str]) -> Asked | Page:
        """A text or its tokens."""
        config = self._config
        said = decoded(_BODY, incoming.body)
        if said.text is None and said.input_ids is None:
            raise Refused("invalid", "Either text, input_ids or input_embeds should be provided.")
        prompt: list[str] | list[int] = said.input_ids or (said.text or "").split()
        sampling = said.sampling_params or _Sampling()
        tokens = room(config, len(prompt), sampling.max_new_tokens, "max_new_tokens")
        return Asked(
            kind=kind,
            model=config.model,
            prompt=list(prompt) if config.prefix_cache else [],
            prompt_tokens=len(prompt),
            output_tokens=tokens,
            stream=said.stream,
            salt=said.cache_salt or "",
            said=fitting(decoded(_SCHEMA, sampling.json_schema.encode())) if sampling.json_schema else (),
            exact=sampling.ignore_eos or sampling.min_new_tokens >= tokens,
        )

    def varies(self, asked: Asked) -> Varies:
        """Counts come with each event."""
        return "answer"

    def event(self, asked: Asked, piece: Piece, answer: Answer | None) -> bytes:
        """All so far."""
        assert answer is not None
        return b"data: %b\n\n" % encode(self._said(answer, piece.start + piece.size, None))

    def final(self, answer: Answer, piece: Piece) -> list[bytes]:
        """The last event has the finish reason."""
        last = encode(self._said(answer, answer.tokens, _finish(answer)))
        return [b"data: %b\n\n" % last, b"data: [DONE]\n\n"]

    def broken(self, answer: Answer, piece: Piece) -> bytes:
        """An error, then the usual end."""
        return b'data: {"error":{"message":"simulated error"}}\n\ndata: [DONE]\n\n'

    def whole(self, answer: Answer) -> Page:
        """The last event alone."""
        return json(self._said(answer, answer.tokens, _finish(answer)))

    def refusal(self, refused: Refused) -> Page:
        """A bare message."""
        return openai_errors.refusal("flat", refused, self._config)

    def _said(self, answer: Answer, tokens: int, finish: dict[str, object] | None) -> dict[str, object]:
        meta: dict[str, object] = {
            "id": "sim",
            "finish_reason": finish,
            "prompt_tokens": answer.asked.prompt_tokens,
            "completion_tokens": tokens,
            "cached_tokens": answer.cached,
        }
        if finish:
            meta["e2e_latency"] = answer.times.total_ns / 1e9
        return {"text": self._content(answer, tokens), "meta_info": meta}


def _finish(answer: Answer) -> dict[str, object]:
    if answer.stopped:
        return {"type": "stop", "matched": 2}
    return {"type": "length", "length": answer.tokens}
