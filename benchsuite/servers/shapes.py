"""The shapes that `--model shape:NAME` knows: small ones with weights, published ones without.

Sizes of published shapes are those of the models' own config.json, so that an engine that makes
dummy weights allocates and computes what the real model would.
"""

from typing import Literal

from benchsuite.errors import UsageError
from benchsuite.types import Noun

CONTEXT_TOKENS = 8192
"""Context of the shapes that we make weights for."""


class LongRope(Noun, frozen=True, kw_only=True):
    """Llama 3's stretching of the rope beyond the context that it was trained with, `original_tokens`."""

    factor: float
    low_frequency: float = 1.0
    high_frequency: float = 4.0
    original_tokens: int = 8192


class Shape(Noun, frozen=True, kw_only=True):
    """Sizes of one model; `dummy`: nobody has its weights, an engine makes them up itself.

    `vocabulary` counts tokens, `hidden` and `ffn` are widths, `head_size` that of one head. `tied`:
    the head is the embedding.
    """

    family: Literal["llama", "qwen3"] = "llama"
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    head_size: int
    vocabulary: int
    context_tokens: int
    rope_base: float
    long_rope: LongRope | None = None
    norm_epsilon: float = 1e-5
    tied: bool = False
    dummy: bool = False


class ShapeFacts(Noun, frozen=True, kw_only=True):
    """What a shape amounts to: all its parameters (norms and embedding too), and its longest context."""

    parameters: int
    context_tokens: int


def _small(hidden: int, layers: int, heads: int, kv_heads: int, ffn: int) -> Shape:
    return Shape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        ffn=ffn,
        head_size=64,
        vocabulary=4096,
        context_tokens=CONTEXT_TOKENS,
        rope_base=10000.0,
    )


def _llama_3(hidden: int, layers: int, heads: int, ffn: int, stretched: float, tied: bool = False) -> Shape:
    return Shape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=8,
        ffn=ffn,
        head_size=hidden // heads,
        vocabulary=128256,
        context_tokens=131072,
        rope_base=500000.0,
        long_rope=LongRope(factor=stretched),
        tied=tied,
        dummy=True,
    )


SHAPES = {
    "5m": _small(hidden=256, layers=6, heads=4, kv_heads=2, ffn=768),
    "50m": _small(hidden=640, layers=10, heads=10, kv_heads=2, ffn=1792),
    "300m": _small(hidden=1024, layers=24, heads=16, kv_heads=4, ffn=3072),
    "llama-3.2-1b": _llama_3(hidden=2048, layers=16, heads=32, ffn=8192, stretched=32.0, tied=True),
    "llama-3.1-8b": _llama_3(hidden=4096, layers=32, heads=32, ffn=14336, stretched=8.0),
    "qwen3-8b": Shape(
        family="qwen3",
        hidden=4096,
        layers=36,
        heads=32,
        kv_heads=8,
        ffn=12288,
        head_size=128,
        vocabulary=151936,
        context_tokens=40960,
        rope_base=1000000.0,
        norm_epsilon=1e-6,
        dummy=True,
    ),
    "llama-3.3-70b": _llama_3(hidden=8192, layers=80, heads=64, ffn=28672, stretched=8.0),
}


def find(name: str) -> Shape:
    """The shape called `name`; a UsageError that lists what there is."""
    if name not in SHAPES:
        raise UsageError(f"no model shape {name!r}; there are: {', '.join(SHAPES)}")
    return SHAPES[name]


def is_dummy(name: str) -> bool:
    """Whether the shape has no weights of ours: the engine makes them up. UsageError: no such shape."""
    return find(name).dummy


def shape_facts(name: str) -> ShapeFacts:
    """Parameter count and context of a shape; UsageError: no such shape."""
    shape = find(name)
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    attention = shape.hidden * (2 * queries + 2 * keys)
    norms = 2 * shape.hidden + (2 * shape.head_size if shape.family == "qwen3" else 0)
    layer = attention + 3 * shape.hidden * shape.ffn + norms
    tables = (1 if shape.tied else 2) * shape.vocabulary * shape.hidden
    parameters = tables + shape.layers * layer + shape.hidden
    return ShapeFacts(parameters=parameters, context_tokens=shape.context_tokens)
