"""A model made on the spot as one GGUF file in q8_0, for llama.cpp and what is built on it."""

from typing import TYPE_CHECKING

from benchsuite.servers import vocabulary
from benchsuite.servers.shapes import Shape
from benchsuite.servers.weights import tensors

if TYPE_CHECKING:
    from gguf import GGUFWriter

FORMAT = 1
"""Version of what a shape's file holds; a change of weights, layout or vocabulary raises it."""


def write(path: str, name: str, shape: Shape) -> None:
    """Write the file, replacing what is at `path`; OSError: it can't be written."""
    from gguf import GGUFWriter

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
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)


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

    for name, tensor in tensors(shape, words):
        if tensor.ndim == 1:
            writer.add_tensor(f"{name}.weight", tensor)
        else:
            packed = tensor.reshape(tensor.shape[0], -1)
            writer.add_tensor(f"{name}.weight", packed, raw_dtype=GGMLQuantizationType.Q8_0)
