"""Models made on the spot: Llama layout, random weights, GGUF in q8_0, the same bytes on every machine.

Dense compute takes the same time whatever the weights say, so a random model measures a server as
well as a trained one and needs no download. Two tricks make answers exactly as long as asked: the
residual's dimension 0 is constant (nothing writes to it after the embedding), and the head answers
it with a large negative weight for every token that would end the answer or show nothing.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchsuite.errors import TargetError, UsageError
from benchsuite.servers import vocabulary
from benchsuite.types import Noun

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from numpy.typing import NDArray

FORMAT = 1
"""Version of what a shape's file holds; a change of weights, layout or vocabulary raises it."""

CONTEXT_TOKENS = 8192
HEAD_SIZE = 64
BLOCK = 32
"""Values per q8_0 block: one 16-bit scale, then 32 signed bytes."""
FIRST_VALUE = 2
"""Offset of a block's values: its scale stands first."""
LARGEST = 127
SILENCE = -40.0
"""Head weight of the constant dimension for tokens that must not be said."""
GAIN = {"attn_q": 2.0, "attn_k": 2.0, "output": 3.0}
"""Weights' spread as a multiple of 1/√(inputs), where it isn't 1: found to keep answers varied."""


class Shape(Noun, frozen=True, kw_only=True):
    """Sizes of one model; heads are 64 wide, so `hidden` = 64 × `heads`."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int


SHAPES = {
    "5m": Shape(hidden=256, layers=6, heads=4, kv_heads=2, ffn=768),
    "50m": Shape(hidden=640, layers=10, heads=10, kv_heads=2, ffn=1792),
    "300m": Shape(hidden=1024, layers=24, heads=16, kv_heads=4, ffn=3072),
}


def cache_folder() -> Path:
    """Where made models are kept: `$BENCHSUITE_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("BENCHSUITE_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "benchsuite"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "benchsuite"


def model_path(shape: str, cache_dir: Path | None = None) -> Path:
    """Where `make_model` keeps this shape, whether or not it is there yet; UsageError: no such shape."""
    if shape not in SHAPES:
        raise UsageError(f"no model shape {shape!r}; there are: {', '.join(SHAPES)}")
    return (cache_dir or cache_folder()) / f"benchsuite-{shape}-q8_0-v{FORMAT}.gguf"


def make_model(shape: str, cache_dir: Path | None = None) -> Path:
    """Path of the shape's GGUF file, made if it isn't in the cache yet.

    The file appears under its name only when it is complete; processes that make it at the same
    time write the same bytes. UsageError: no such shape; TargetError: it can't be written.
    """
    path = model_path(shape, cache_dir)
    if path.exists():
        return path
    unfinished = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        _write(unfinished, shape)
        os.replace(unfinished, path)
        unfinished = None
    except OSError as error:
        advice = "free some space or point BENCHSUITE_CACHE at another folder"
        raise TargetError(
            f"can't write the model to its cache: {error.strerror or error}; {advice}"
        ) from error
    finally:
        if unfinished:
            Path(unfinished).unlink(missing_ok=True)
    return path


def _write(path: str, name: str) -> None:
    from gguf import GGUFWriter

    shape = SHAPES[name]
    words = vocabulary.load()
    writer = GGUFWriter(path, "llama")
    _add_facts(writer, name, shape)
    _add_vocabulary(writer, words)
    _add_weights(writer, shape, words)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_facts(writer: "GGUFWriter", name: str, shape: Shape) -> None:
    from gguf import LlamaFileType

    writer.add_name(f"benchsuite-{name}")
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(HEAD_SIZE)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)


def _add_vocabulary(writer: "GGUFWriter", words: vocabulary.Vocabulary) -> None:
    from gguf import TokenType

    special = len(words.entries) - len(vocabulary.SPECIAL)
    kinds = [
        TokenType.NORMAL if index < special else TokenType.CONTROL for index in range(len(words.entries))
    ]
    writer.add_vocab_size(len(words.entries))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words.entries)
    writer.add_token_types(kinds)
    writer.add_token_merges(words.merges)
    writer.add_bos_token_id(words.entries.index(vocabulary.BEGIN))
    writer.add_eos_token_id(words.entries.index(vocabulary.END))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(vocabulary.CHAT_TEMPLATE)


def _add_weights(writer: "GGUFWriter", shape: Shape, words: vocabulary.Vocabulary) -> None:
    from gguf import GGMLQuantizationType

    bits = np.random.PCG64(FORMAT)
    keys = shape.kv_heads * HEAD_SIZE

    def add(name: str, blocks: "NDArray[np.uint8]") -> None:
        packed = blocks.reshape(blocks.shape[0], -1)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=GGMLQuantizationType.Q8_0)

    def weights(part: str, rows: int, columns: int) -> "NDArray[np.uint8]":
        return _random(bits, rows, columns, spread=GAIN.get(part, 1.0) / columns**0.5)

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(shape.hidden, dtype="<f4"))

    embedding = _random(bits, len(words.entries), shape.hidden, spread=1.0)
    embedding[:, 0, FIRST_VALUE] = LARGEST
    add("token_embd", embedding)
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        norm(f"{block}.attn_norm")
        for part, rows in (("attn_q", shape.hidden), ("attn_k", keys), ("attn_v", keys)):
            add(f"{block}.{part}", weights(part, rows, shape.hidden))
        norm(f"{block}.ffn_norm")
        for part in ("ffn_gate", "ffn_up"):
            add(f"{block}.{part}", weights(part, shape.ffn, shape.hidden))
        for part, columns in (("attn_output", shape.hidden), ("ffn_down", shape.ffn)):
            blocks = weights(part, shape.hidden, columns)
            blocks[0] = 0
            add(f"{block}.{part}", blocks)
    norm("output_norm")
    head = weights("output", len(words.entries), shape.hidden)
    head[:, 0, FIRST_VALUE] = 0
    silent = list(words.silent)
    head[silent] = 0
    head[silent, 0, :FIRST_VALUE] = _scale_bytes(SILENCE / LARGEST)
    head[silent, 0, FIRST_VALUE] = LARGEST
    add("output", head)


def _random(bits: np.random.PCG64, rows: int, columns: int, spread: float) -> "NDArray[np.uint8]":
    """Blocks of a q8_0 matrix, shape (rows, columns / 32, 34), of standard deviation `spread`.

    The generator's raw bits are the signed bytes: no floating-point function whose last digit
    differs between machines, and evenly spread values serve as well as normal ones.
    """
    values = bits.random_raw(rows * columns // 8).astype("<u8").view(np.int8)
    blocks = np.empty((rows, columns // BLOCK, FIRST_VALUE + BLOCK), dtype=np.uint8)
    blocks[:, :, :FIRST_VALUE] = _scale_bytes(spread * 3**0.5 / LARGEST)
    blocks[:, :, FIRST_VALUE:] = np.maximum(values, -LARGEST).view(np.uint8).reshape(rows, -1, BLOCK)
    return blocks


def _scale_bytes(scale: float) -> "NDArray[np.uint8]":
    return np.array([scale], dtype="<f2").view(np.uint8)
