"""Random weights for a shape, in blocks of q8_0, the same on every machine.

Dense compute takes the same time whatever the weights say, so a random model measures a server as
well as a trained one and needs no download. Two tricks make answers exactly as long as asked: the
residual's dimension 0 is constant (nothing writes to it after the embedding), and the head answers
it with a large negative weight for every token that would end the answer or show nothing.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from benchsuite.servers.shapes import Shape
from benchsuite.servers.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 1
"""Another seed makes other weights: raise the version of every form with it."""

BLOCK = 32
"""Values per q8_0 block: one 16-bit scale, then 32 signed bytes."""
FIRST_VALUE = 2
"""Offset of a block's values: its scale stands first."""
LARGEST = 127
SILENCE = -40.0
"""Head weight of the constant dimension for tokens that must not be said."""
GAIN = {"attn_q": 2.0, "attn_k": 2.0, "output": 3.0}
"""Weights' spread as a multiple of 1/√(inputs), where it isn't 1: found to keep answers varied."""


def tensors(shape: Shape, words: Vocabulary) -> "Iterator[tuple[str, NDArray[Any]]]":
    """Every tensor by its GGUF name without `.weight`, in the order of the random numbers.

    A matrix comes as bytes of q8_0, shape (rows, columns / 32, 34); a norm as float32 ones, shape
    (hidden,). One at a time: nobody holds a whole model but who keeps it.
    """
    bits = np.random.PCG64(SEED)
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    norm = np.ones(shape.hidden, dtype="<f4")

    def weights(part: str, rows: int, columns: int) -> "NDArray[np.uint8]":
        return _random(bits, rows, columns, spread=GAIN.get(part, 1.0) / columns**0.5)

    embedding = _random(bits, len(words.entries), shape.hidden, spread=1.0)
    embedding[:, 0, FIRST_VALUE] = LARGEST
    yield "token_embd", embedding
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm", norm
        for part, rows in (("attn_q", queries), ("attn_k", keys), ("attn_v", keys)):
            yield f"{block}.{part}", weights(part, rows, shape.hidden)
        yield f"{block}.ffn_norm", norm
        for part in ("ffn_gate", "ffn_up"):
            yield f"{block}.{part}", weights(part, shape.ffn, shape.hidden)
        for part, columns in (("attn_output", queries), ("ffn_down", shape.ffn)):
            blocks = weights(part, shape.hidden, columns)
            blocks[0] = 0
            yield f"{block}.{part}", blocks
    yield "output_norm", norm
    yield "output", _head(weights("output", len(words.entries), shape.hidden), list(words.silent))


def values(blocks: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """The numbers that q8_0 blocks stand for, exactly: shape (rows, columns)."""
    scales = np.ascontiguousarray(blocks[:, :, :FIRST_VALUE]).view("<f2").astype(np.float32)
    scaled = blocks[:, :, FIRST_VALUE:].view(np.int8) * scales
    return scaled.reshape(blocks.shape[0], -1)


def _head(head: "NDArray[np.uint8]", silent: list[int]) -> "NDArray[np.uint8]":
    head[:, 0, FIRST_VALUE] = 0
    head[silent] = 0
    head[silent, 0, :FIRST_VALUE] = _scale_bytes(SILENCE / LARGEST)
    head[silent, 0, FIRST_VALUE] = LARGEST
    return head


def _random(bits: np.random.PCG64, rows: int, columns: int, spread: float) -> "NDArray[np.uint8]":
    """Blocks of a q8_0 matrix, shape (rows, columns / 32, 34), of standard deviation `spread`.

    The generator's raw bits are the signed bytes: no floating-point function whose last digit
    differs between machines, and evenly spread values serve as well as normal ones.
    """
    drawn = bits.random_raw(rows * columns // 8).astype("<u8").view(np.int8)
    blocks = np.empty((rows, columns // BLOCK, FIRST_VALUE + BLOCK), dtype=np.uint8)
    blocks[:, :, :FIRST_VALUE] = _scale_bytes(spread * 3**0.5 / LARGEST)
    blocks[:, :, FIRST_VALUE:] = np.maximum(drawn, -LARGEST).view(np.uint8).reshape(rows, -1, BLOCK)
    return blocks


def _scale_bytes(scale: float) -> "NDArray[np.uint8]":
    return np.array([scale], dtype="<f2").view(np.uint8)
