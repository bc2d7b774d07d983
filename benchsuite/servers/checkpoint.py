"""A model made on the spot as a Hugging Face directory: the GGUF file's numbers in bf16 or f32.

A published shape has the same files without weights, for engines that make dummy weights.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchsuite.servers import tokenizer, vocabulary
from benchsuite.servers.shapes import LongRope, Shape
from benchsuite.servers.weights import tensors, values

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
"""Version of what a shape's directory holds; a change of weights, layout or vocabulary raises it."""

CheckpointForm = Literal["bf16", "f32"]
TYPES = {"bf16": "bfloat16", "f32": "float32"}

_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def write(folder: Path, shape: Shape, form: CheckpointForm) -> None:
    """Write the directory, which must not be there yet; OSError: it can't be written."""
    folder.mkdir()
    words = vocabulary.filled(shape.vocabulary) if shape.dummy else vocabulary.load()
    begin, end = (words.entries.index(entry) for entry in (vocabulary.BEGIN, vocabulary.END))
    ids = {"bos_token_id": begin, "eos_token_id": end}
    _write_json(folder / "config.json", config(shape, form) | ids)
    _write_json(folder / "generation_config.json", ids)
    _write_json(folder / "tokenizer_config.json", tokenizer.settings(words, shape.context_tokens))
    compact = json.dumps(tokenizer.definition(words), ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(compact, encoding="utf-8")
    if not shape.dummy:
        _write_weights(folder / "model.safetensors", shape, words, form)


def config(shape: Shape, form: CheckpointForm) -> dict[str, Any]:
    """The sizes as config.json has them, without the ids of special tokens."""
    return {
        **_family(shape),
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "max_position_embeddings": shape.context_tokens,
        "rope_theta": shape.rope_base,
        "rope_scaling": _rope_scaling(shape.long_rope),
        "rms_norm_eps": shape.norm_epsilon,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": shape.tied,
        "use_cache": True,
        "torch_dtype": TYPES[form],
    }


def _family(shape: Shape) -> dict[str, Any]:
    if shape.family == "llama":
        return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "mlp_bias": False}
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "sliding_window": None,
        "use_sliding_window": False,
        "max_window_layers": shape.layers,
    }


def _rope_scaling(long: LongRope | None) -> dict[str, Any] | None:
    if long is None:
        return None
    return {
        "rope_type": "llama3",
        "factor": long.factor,
        "low_freq_factor": long.low_frequency,
        "high_freq_factor": long.high_frequency,
        "original_max_position_embeddings": long.original_tokens,
    }


def _write_weights(path: Path, shape: Shape, words: vocabulary.Vocabulary, form: CheckpointForm) -> None:
    import safetensors

    stored = {}
    for name, tensor in tensors(shape, words):
        numbers = tensor if tensor.ndim == 1 else values(tensor)
        part = name.rpartition(".")[2]
        if part in ("attn_q", "attn_k"):
            numbers = _halved(numbers, shape.head_size)
        stored[_their_name(name)] = _bf16(numbers) if form == "bf16" else numbers.astype("<f4", copy=False)
    try:
        safetensors.serialize_file(_described(stored, TYPES[form]), path, {"format": "pt"})
    except safetensors.SafetensorError as error:
        raise OSError(str(error)) from error


def _described(stored: "dict[str, NDArray[Any]]", kind: str) -> dict[str, Any]:
    """The tensors as safetensors wants them: numpy itself has no bf16, so its own door for arrays won't do.

    Up to 0.7 it took bytes, since 0.8 an address; `stored` has to outlive the writing.
    """
    try:
        from safetensors import TensorSpec
    except ImportError:
        return {
            name: {"dtype": kind, "shape": array.shape, "data": array.tobytes()}
            for name, array in stored.items()
        }
    return {
        name: TensorSpec(dtype=kind, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes)
        for name, array in stored.items()
    }


def _their_name(name: str) -> str:
    if name in _TOP:
        return f"{_TOP[name]}.weight"
    _, layer, part = name.split(".")
    return f"model.layers.{layer}.{_PARTS[part]}.weight"


def _halved(numbers: "NDArray[np.float32]", head_size: int) -> "NDArray[np.float32]":
    """Rows in Hugging Face's order: rope turns row i of a head with i + half, in a GGUF 2i with 2i + 1."""
    pairs = numbers.reshape(-1, head_size // 2, 2, numbers.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(numbers.shape)


def _bf16(numbers: "NDArray[np.float32]") -> "NDArray[np.uint16]":
    """The upper halves of the numbers, rounded to nearest, ties to even; finite numbers only."""
    bits = np.ascontiguousarray(numbers, dtype="<f4").view(np.dtype("<u4"))
    halves: NDArray[np.uint16] = ((bits + ((bits >> 16 & 1) + 0x7FFF)) >> 16).astype("<u2")
    return halves


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
