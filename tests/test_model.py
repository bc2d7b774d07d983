"""Models made on the spot: the same bytes everywhere, made once, complete or not there."""

import hashlib
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from benchsuite.errors import UsageError
from benchsuite.servers import model, vocabulary

SHA256_OF_5M = "d724520da3dfad163f9c1137612f126bda3db9366af4851bb4e52b54b234506b"
WORDS = (files("benchsuite.data") / "words.txt").read_text(encoding="utf-8").split()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names_and_digests(folder: Path) -> dict[str, str]:
    return {path.name: digest(path) for path in folder.iterdir()}


def test_the_same_bytes_on_every_machine(tmp_path):
    # If this changes on purpose, raise gguf_file.FORMAT: old files must not pass for new ones.
    assert digest(model.make_model("5m", cache_dir=tmp_path)) == SHA256_OF_5M


def test_made_once(tmp_path):
    path = model.model_path("5m", cache_dir=tmp_path)
    path.write_bytes(b"already here")
    assert model.make_model("5m", cache_dir=tmp_path) == path
    assert path.read_bytes() == b"already here"
    folder = model.model_path("5m", "f32", tmp_path)
    folder.mkdir()
    assert model.make_model("5m", "f32", tmp_path) == folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("form", ["gguf", "bf16"])
def test_processes_at_the_same_time_end_with_one_whole_model(tmp_path, form):
    code = (
        "import sys; from pathlib import Path; from benchsuite.servers.model import make_model\n"
        "input(); make_model('5m', sys.argv[1], Path(sys.argv[2])); print('tokenizers' in sys.modules)"
    )
    argv = [sys.executable, "-c", code, form, str(tmp_path)]
    makers = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [maker.communicate("\n")[0].strip() for maker in makers] == ["False"] * 3
    (made,) = tmp_path.iterdir()
    assert made == model.model_path("5m", form, tmp_path)
    again = model.make_model("5m", form, tmp_path / "again")
    if form == "gguf":
        assert digest(made) == SHA256_OF_5M
    else:
        assert names_and_digests(made) == names_and_digests(again)


def test_a_directory_that_another_process_put_there_meanwhile_is_kept(tmp_path, monkeypatch):
    path = model.model_path("llama-3.2-1b", "bf16", tmp_path)

    def overtaken(folder, *_):
        folder.mkdir()
        path.mkdir()
        (path / "theirs").touch()

    monkeypatch.setattr(model.checkpoint, "write", overtaken)
    assert model.make_model("llama-3.2-1b", "bf16", tmp_path) == path
    assert list(tmp_path.iterdir()) == [path]
    assert [file.name for file in path.iterdir()] == ["theirs"]


@pytest.mark.parametrize("form", ["gguf", "bf16"])
def test_a_failed_attempt_leaves_nothing_and_says_what_to_do(tmp_path, form):
    full_disk = (
        "import resource, sys; from pathlib import Path; from benchsuite.servers.model import make_model\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "make_model('5m', sys.argv[1], Path(sys.argv[2]))"
    )
    tried = subprocess.run(
        [sys.executable, "-c", full_disk, form, str(tmp_path)], capture_output=True, text=True, check=False
    )
    last = tried.stderr.splitlines()[-1]
    assert "TargetError" in last and "BENCHSUITE_CACHE" in last
    assert list(tmp_path.iterdir()) == []


def test_unknown_shape_names_the_known_ones(tmp_path):
    known = "5m, 50m, 300m, llama-3.2-1b, llama-3.1-8b, qwen3-8b, llama-3.3-70b"
    with pytest.raises(UsageError, match=known):
        model.make_model("7b", cache_dir=tmp_path)
    for ask in (model.is_dummy, model.shape_facts):
        with pytest.raises(UsageError, match=known):
            ask("7b")
    assert list(tmp_path.iterdir()) == []


def test_a_published_shape_as_gguf_says_what_to_choose_instead(tmp_path):
    with pytest.raises(UsageError, match=r"no weights.*--backend vllm.*shape:5m, shape:50m, shape:300m$"):
        model.make_model("llama-3.1-8b", cache_dir=tmp_path)


def test_only_published_shapes_are_dummies():
    assert [name for name in model.SHAPES if not model.is_dummy(name)] == ["5m", "50m", "300m"]


@pytest.mark.parametrize(
    ("name", "parameters", "context_tokens"),
    [
        ("5m", 6_819_072, 8192),
        ("50m", 49_493_120, 8192),
        ("300m", 297_845_760, 8192),
        # As the models' own cards and weight files have them.
        ("llama-3.2-1b", 1_235_814_400, 131072),
        ("llama-3.1-8b", 8_030_261_248, 131072),
        ("qwen3-8b", 8_190_735_360, 40960),
        ("llama-3.3-70b", 70_553_706_496, 131072),
    ],
)
def test_a_shape_is_as_large_as_the_model_whose_name_it_has(name, parameters, context_tokens):
    facts = model.shape_facts(name)
    assert (facts.parameters, facts.context_tokens) == (parameters, context_tokens)


def test_the_cache_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("BENCHSUITE_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert model.cache_folder() == tmp_path / "xdg" / "benchsuite"
    monkeypatch.setenv("BENCHSUITE_CACHE", str(tmp_path / "own"))
    assert model.cache_folder() == tmp_path / "own"


def test_word_list_is_512_short_words():
    assert len(WORDS) == len(set(WORDS)) == 512
    assert all(2 <= len(word) <= 7 and word.isascii() and word.isalpha() and word.islower() for word in WORDS)


def test_every_word_is_one_entry_with_and_without_a_leading_space():
    words = vocabulary.load()
    assert len(words.entries) == len(set(words.entries)) == 4096
    said = set(words.entries) - {words.entries[index] for index in words.silent}
    assert {form for word in WORDS for form in (word, f"Ġ{word}")} <= said


def test_silent_are_exactly_the_entries_that_end_or_show_nothing():
    words = vocabulary.load()
    letters = vocabulary.byte_letters()
    assert sorted(letters.values()) == list(range(256))
    assert letters["Ġ"] == ord(" ")
    assert letters["Ċ"] == ord("\n")
    silent = {words.entries[index] for index in words.silent}
    assert set(vocabulary.SPECIAL) <= silent
    for entry in set(words.entries) - set(vocabulary.SPECIAL):
        data = bytes(letters[letter] for letter in entry)
        whole = data.decode(errors="ignore").encode() == data
        assert whole or entry in silent
        assert entry not in silent or not whole or not data.strip().isalnum()
