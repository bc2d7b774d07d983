"""The local Hugging Face cache: which models lie there whole, in which order, and how large."""

import json
import os
from pathlib import Path

import pytest

from benchsuite.servers.hub import CachedModel, cache_folder, cached_models

LLAMA = {"architectures": ["LlamaForCausalLM"]}


def add(hub, name, content, *, revision="a1", used=1000.0, main=True):
    """A model as huggingface_hub lays it out: blobs, a snapshot of links to them, and what `main` is.

    A file's content is bytes or JSON; None: its blob isn't there yet.
    """
    repository = hub / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir(exist_ok=True)
    for file, said in content.items():
        data = json.dumps(said).encode() if isinstance(said, dict) else said
        blob = repository / "blobs" / f"{revision}-{file.replace('/', '-')}"
        if data is not None:
            blob.write_bytes(data)
            os.utime(blob, (used, used))
        (snapshot / file).parent.mkdir(exist_ok=True)
        (snapshot / file).symlink_to(os.path.relpath(blob, (snapshot / file).parent))
    if main:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(revision)
    return snapshot


def listed(hub):
    return cached_models({"HF_HUB_CACHE": str(hub)})


def test_a_model_has_its_id_size_and_architecture(tmp_path):
    config = json.dumps(LLAMA).encode()
    add(tmp_path, "org/some-model", {"config.json": config, "model.safetensors": b"x" * 500})
    expected = CachedModel(id="org/some-model", size_bytes=500 + len(config), architecture="LlamaForCausalLM")
    assert listed(tmp_path) == (expected,)


def test_a_file_under_two_names_counts_once(tmp_path):
    snapshot = add(tmp_path, "org/m", {"config.json": b"{}", "model.safetensors": b"x" * 500})
    (snapshot / "again.safetensors").symlink_to((snapshot / "model.safetensors").resolve())
    assert listed(tmp_path)[0].size_bytes == 502


def test_the_most_recently_used_comes_first(tmp_path):
    for name, used in (("a/old", 1000), ("b/new", 3000), ("c/middle", 2000), ("gpt2", 3000)):
        add(tmp_path, name, {"config.json": LLAMA, "model.safetensors": b"x"}, used=used)
    assert [model.id for model in listed(tmp_path)] == ["b/new", "gpt2", "c/middle", "a/old"]


def test_reading_weights_is_using_them(tmp_path):
    add(tmp_path, "a/read", {"config.json": LLAMA, "model.safetensors": b"x"}, used=1000)
    add(tmp_path, "b/written", {"config.json": LLAMA, "model.safetensors": b"x"}, used=2000)
    os.utime(tmp_path / "models--a--read" / "blobs" / "a1-model.safetensors", (3000, 1000))
    assert [model.id for model in listed(tmp_path)] == ["a/read", "b/written"]


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin", "model-q8_0.gguf", "q8/m.gguf"])
def test_weights_of_any_kind_count(tmp_path, file):
    add(tmp_path, "org/m", {"config.json": LLAMA, file: b"x"})
    assert [model.id for model in listed(tmp_path)] == ["org/m"]


INDEX = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}


@pytest.mark.parametrize(
    "content",
    [
        {"config.json": LLAMA, "tokenizer.json": b"{}"},
        {"model.safetensors": b"x"},
        {"config.json": LLAMA, "model.safetensors": None},
        {"config.json": b"{not json", "model.safetensors": b"x"},
        {"config.json": b"\xff", "model.safetensors": b"x"},
        {"config.json": LLAMA, "model.safetensors.index.json": INDEX, "model-1.safetensors": b"x"},
    ],
    ids=["no weights", "no config", "not there yet", "no json", "no text", "a shard is missing"],
)
def test_what_is_not_whole_is_left_out(tmp_path, content):
    add(tmp_path, "org/broken", content)
    add(tmp_path, "org/whole", {"config.json": LLAMA, "model.safetensors": b"x"})
    assert [model.id for model in listed(tmp_path)] == ["org/whole"]


def test_other_files_may_be_missing(tmp_path):
    content = {"config.json": b"{}", "q8/model.safetensors": b"x" * 500, "tokenizer.json": None}
    add(tmp_path, "org/m", content)
    assert [(model.id, model.size_bytes) for model in listed(tmp_path)] == [("org/m", 502)]


def test_all_shards_make_a_model(tmp_path):
    shards = {f"model-{number}.safetensors": b"x" for number in (1, 2)}
    add(tmp_path, "org/m", {"config.json": LLAMA, "model.safetensors.index.json": INDEX, **shards})
    assert [model.id for model in listed(tmp_path)] == ["org/m"]


@pytest.mark.parametrize("config", [{}, [], {"architectures": None}, {"architectures": [3]}])
def test_an_architecture_that_is_not_said_is_unknown(tmp_path, config):
    add(tmp_path, "org/m", {"config.json": json.dumps(config).encode(), "model.safetensors": b"x"})
    assert [model.architecture for model in listed(tmp_path)] == ["unknown"]


def test_of_several_snapshots_main_counts_and_else_the_newest(tmp_path):
    for name in ("org/m", "org/n"):
        add(tmp_path, name, {"config.json": {"architectures": ["Main"]}, "m.bin": b"x"}, revision="b")
        newer = {"config.json": {"architectures": ["Newer"]}, "m.bin": b"x"}
        os.utime(add(tmp_path, name, newer, revision="c", main=False), (9e9, 9e9))
    (tmp_path / "models--org--n" / "refs" / "main").unlink()
    assert {model.id: model.architecture for model in listed(tmp_path)} == {"org/m": "Main", "org/n": "Newer"}


def test_where_main_is_not_whole_another_snapshot_serves(tmp_path):
    add(tmp_path, "org/m", {"config.json": LLAMA}, revision="b")
    add(tmp_path, "org/m", {"config.json": LLAMA, "m.bin": b"x"}, revision="a", main=False)
    assert [model.id for model in listed(tmp_path)] == ["org/m"]


def test_other_things_in_the_cache_are_no_models(tmp_path):
    add(tmp_path, "org/m", {"config.json": LLAMA, "m.bin": b"x"})
    (tmp_path / "models--org--m").rename(tmp_path / "datasets--org--m")
    (tmp_path / "models--a--file").touch()
    (tmp_path / "models--a--empty").mkdir()
    (tmp_path / "version.txt").touch()
    assert listed(tmp_path) == ()
    assert listed(tmp_path / "nowhere") == ()


def test_the_cache_is_where_hugging_face_keeps_it(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    environ = {"XDG_CACHE_HOME": "/x", "HF_HOME": "/h", "HF_HUB_CACHE": "~/c"}
    assert cache_folder(environ) == Path("/home/someone/c")
    del environ["HF_HUB_CACHE"]
    assert cache_folder(environ) == Path("/h/hub")
    del environ["HF_HOME"]
    assert cache_folder(environ) == Path("/x/huggingface/hub")
    assert cache_folder({}) == Path("/home/someone/.cache/huggingface/hub")
