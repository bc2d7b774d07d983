"""Models made on the spot as Hugging Face directories: the GGUF's numbers, and tokens that agree."""

import hashlib
import json
from importlib.resources import files

import numpy as np
import pytest
import safetensors
from gguf import GGUFReader
from gguf.quants import dequantize
from tokenizers import Tokenizer

from benchsuite.servers import vocabulary
from benchsuite.servers.model import SHAPES, is_dummy, make_model, shape_facts

WORDS = (files("benchsuite.data") / "words.txt").read_text(encoding="utf-8").split()
BIG = [name for name in SHAPES if is_dummy(name)]
SHA256_OF_5M = {
    "f32": "1553f7276e268300c381b2afc44d3f551aead1cdee29e387eaee43ecd021f2f7",
    "bf16": "ac39ca24390772633bea6afbb02fbabfcad34f899158cc3346a085f86e0d331d",
}
SHA256_OF_QWEN3_8B = "e49d4674f2d7f691c1a7735b80d7b188c849d93a7acb4830ff1c9d8fa86cf3bc"
PLAIN = "def f(x):\n\treturn {'a': [x, 1.5e3]}  # don't we'll, 12345 ~ `|`\n\n    <b>END</b>"
TRICKY = PLAIN + "\r\nnaïve café — 東京 🙂\x00"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def read_json(folder, name):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def stored(folder):
    """Type and numbers (float32) of each tensor; numpy has no bf16, which is float32's upper half."""
    tensors = {}
    for name, facts in safetensors.deserialize((folder / "model.safetensors").read_bytes()):
        if facts["dtype"] == "BF16":
            numbers = (np.frombuffer(facts["data"], "<u2").astype("<u4") << 16).view("<f4")
        else:
            numbers = np.frombuffer(facts["data"], "<f4")
        tensors[name] = (facts["dtype"], numbers.reshape(facts["shape"]))
    return tensors


@pytest.fixture(scope="module")
def original(cache):
    """What the GGUF file says, by its own names, as float32."""
    reader = GGUFReader(make_model("5m", cache_dir=cache))
    return {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}


@pytest.fixture(scope="module")
def exact(cache):
    return {name: numbers for name, (_, numbers) in stored(make_model("5m", "f32", cache)).items()}


def their_name(name):
    parts = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    parts |= {f"attn_{part}": f"self_attn.{part}_proj" for part in "qkv"}
    parts |= {f"ffn_{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")}
    parts |= {"attn_output": "self_attn.o_proj"}
    top = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    name = name.removesuffix(".weight")
    if name in top:
        return f"{top[name]}.weight"
    _, layer, part = name.split(".")
    return f"model.layers.{layer}.{parts[part]}.weight"


def test_every_tensor_but_queries_and_keys_holds_the_numbers_of_the_gguf_file(original, exact):
    assert set(exact) == {their_name(name) for name in original}
    for name, numbers in original.items():
        if "attn_q" in name or "attn_k" in name:
            continue
        assert exact[their_name(name)].dtype == np.float32
        assert np.array_equal(exact[their_name(name)], numbers), name


def test_queries_and_keys_attend_alike_under_the_rope_of_either_layout(original, exact):
    size = SHAPES["5m"].head_size
    state = np.random.default_rng(0).standard_normal((2, SHAPES["5m"].hidden))
    evens, odds = np.arange(0, size, 2), np.arange(1, size, 2)
    first, second = np.arange(size // 2), np.arange(size // 2, size)

    def rope(head, position, left, right):
        angle = position / 10000.0 ** (np.arange(size // 2) / (size // 2))
        turned = np.empty_like(head)
        turned[..., left] = head[..., left] * np.cos(angle) - head[..., right] * np.sin(angle)
        turned[..., right] = head[..., right] * np.cos(angle) + head[..., left] * np.sin(angle)
        return turned

    def scores(queries, keys, left, right):
        """Of every query head with every key head, 40 tokens apart."""
        query = rope((queries @ state[0]).reshape(-1, size), 47, left, right)
        key = rope((keys @ state[1]).reshape(-1, size), 7, left, right)
        return query @ key.T

    for layer in range(SHAPES["5m"].layers):
        ours = scores(
            original[f"blk.{layer}.attn_q.weight"], original[f"blk.{layer}.attn_k.weight"], evens, odds
        )
        block = f"model.layers.{layer}.self_attn"
        theirs = scores(exact[f"{block}.q_proj.weight"], exact[f"{block}.k_proj.weight"], first, second)
        assert np.allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_bf16_is_the_nearest_number_of_that_type(cache, exact):
    rounded = stored(make_model("5m", "bf16", cache))
    assert rounded.keys() == exact.keys()
    for name, (kind, numbers) in rounded.items():
        assert kind == "BF16"
        error = np.abs(numbers - exact[name])
        # Of 8 significant bits the last is worth 2⁻⁷ of the leading one; half of that is the most to lose.
        leading = np.exp2(np.floor(np.log2(np.maximum(np.abs(exact[name]), 1e-30))))
        assert (error <= leading * 2.0**-8).all(), name


def test_no_answer_ends_early_or_shows_nothing(exact):
    silent = list(vocabulary.load().silent)
    said = np.setdiff1d(np.arange(4096), silent)
    embedding, head = exact["model.embed_tokens.weight"], exact["lm_head.weight"]
    assert len(set(embedding[:, 0])) == 1 and embedding[0, 0] > 1
    for name, numbers in exact.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            assert not numbers[0].any(), name
    assert (head[silent, 0] < -39).all() and not head[silent, 1:].any()
    assert not head[said, 0].any()


@pytest.mark.parametrize("form", ["bf16", "f32"])
def test_the_same_directory_on_every_machine(cache, form):
    # If this changes on purpose, raise checkpoint.FORMAT: old directories must not pass for new ones.
    folder = make_model("5m", form, cache)
    whole = hashlib.sha256()
    for path in sorted(folder.glob("*.json")):
        whole.update(path.name.encode() + path.read_bytes())
    # How the weights' file is laid out is the safetensors package's affair.
    tensors = dict(safetensors.deserialize((folder / "model.safetensors").read_bytes()))
    for name in sorted(tensors):
        whole.update(f"{name} {tensors[name]['dtype']} {list(tensors[name]['shape'])}".encode())
        whole.update(tensors[name]["data"])
    assert whole.hexdigest() == SHA256_OF_5M[form]


def test_the_same_filled_vocabulary_on_every_machine(cache):
    data = (make_model("qwen3-8b", "bf16", cache) / "tokenizer.json").read_bytes()
    assert hashlib.sha256(data).hexdigest() == SHA256_OF_QWEN3_8B


def test_the_small_tokenizer_has_the_ids_of_the_gguf_file(cache):
    words = vocabulary.load()
    tokenizer = Tokenizer.from_file(str(make_model("5m", "f32", cache) / "tokenizer.json"))
    assert [tokenizer.id_to_token(index) for index in range(4096)] == list(words.entries)
    begin = words.entries.index(vocabulary.BEGIN)
    for word in WORDS:
        for text, entry in ((word, word), (f" {word}", f"Ġ{word}")):
            assert tokenizer.encode(text).ids == [begin, words.entries.index(entry)]
    turn = tokenizer.encode(f"{vocabulary.TURN_START}user\n{vocabulary.TURN_END}").tokens
    assert turn == [vocabulary.BEGIN, vocabulary.TURN_START, "user", "Ċ", vocabulary.TURN_END]


def test_any_text_goes_in_and_out_of_the_small_tokenizer(cache):
    tokenizer = Tokenizer.from_file(str(make_model("5m", "f32", cache) / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode(TRICKY).ids) == TRICKY


@pytest.mark.parametrize("name", BIG)
def test_every_id_of_a_published_shape_shows_something(cache, name):
    folder = make_model(name, "bf16", cache)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    size = read_json(folder, "config.json")["vocab_size"]
    end = read_json(folder, "config.json")["eos_token_id"]
    assert tokenizer.get_vocab_size() == size
    assert (
        tokenizer.id_to_token(end)
        == vocabulary.END
        == read_json(folder, "tokenizer_config.json")["eos_token"]
    )
    shown = [tokenizer.decode([index], skip_special_tokens=True) for index in range(size) if index != end]
    assert all(shown)
    assert not any("\N{REPLACEMENT CHARACTER}" in text for text in shown)
    assert len(set(shown)) == size - 1
    assert tokenizer.decode([end]) == ""


@pytest.mark.parametrize("name", BIG)
def test_words_cost_the_same_in_a_published_shape_and_plain_text_comes_out_whole(cache, name):
    large = Tokenizer.from_file(str(make_model(name, "bf16", cache) / "tokenizer.json"))
    small = Tokenizer.from_file(str(make_model("5m", "f32", cache) / "tokenizer.json"))
    for word in WORDS:
        for text in (word, f" {word}"):
            begin, token = large.encode(text).ids
            assert large.id_to_token(begin) == vocabulary.BEGIN
            assert large.decode([token]) == text
    assert large.encode(PLAIN).tokens == small.encode(PLAIN).tokens
    _, *answer = large.encode(PLAIN).ids
    assert large.decode(answer) == PLAIN
    assert len(large.encode("é").ids) == 1 + len("é".encode())


@pytest.mark.parametrize("name", BIG)
def test_a_published_shape_has_no_weights_and_the_sizes_of_its_parameters(cache, name):
    folder = make_model(name, "bf16", cache)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = read_json(folder, "config.json")
    assert config["max_position_embeddings"] == shape_facts(name).context_tokens
    assert config["torch_dtype"] == "bfloat16"
    assert config["num_attention_heads"] * config["head_dim"] == config["hidden_size"]
    qwen = name.startswith("qwen3")
    assert config["architectures"] == ["Qwen3ForCausalLM" if qwen else "LlamaForCausalLM"]
    scaling = {"llama-3.2-1b": 32.0, "llama-3.1-8b": 8.0, "llama-3.3-70b": 8.0}.get(name)
    assert (config["rope_scaling"] or {}).get("factor") == scaling
    assert config["rope_theta"] == (1e6 if qwen else 5e5)
    assert config["tie_word_embeddings"] is (name == "llama-3.2-1b")


@pytest.mark.parametrize("name", ["5m", "llama-3.1-8b"])
def test_a_chat_opens_with_the_token_that_every_text_opens_with(cache, name):
    folder = make_model(name, "bf16", cache)
    settings = read_json(folder, "tokenizer_config.json")
    assert settings["chat_template"] == vocabulary.BEGIN + vocabulary.CHAT_TEMPLATE
    # Engines hide what is named here, so a dummy's answer may not hold it.
    assert settings.get("bos_token") == (None if is_dummy(name) else vocabulary.BEGIN)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    begin = read_json(folder, "config.json")["bos_token_id"]
    assert read_json(folder, "generation_config.json")["bos_token_id"] == begin
    chat = f"{vocabulary.BEGIN}{vocabulary.TURN_START}user\nhi"
    assert tokenizer.encode(chat, add_special_tokens=False).ids[0] == begin
