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


def test_the_same_bytes_on_every_machine(tmp_path):
    # If this changes on purpose, raise model.FORMAT: old files must not pass for new ones.
    assert digest(model.make_model("5m", tmp_path)) == SHA256_OF_5M


def test_made_once(tmp_path):
    path = model.model_path("5m", tmp_path)
    path.write_bytes(b"already here")
    assert model.make_model("5m", tmp_path) == path
    assert path.read_bytes() == b"already here"


def test_processes_at_the_same_time_end_with_one_whole_file(tmp_path):
    code = (
        "import sys; from pathlib import Path; from benchsuite.servers.model import make_model\n"
        "make_model('5m', Path(sys.argv[1])); print('tokenizers' in sys.modules)"
    )
    makers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [maker.communicate()[0].strip() for maker in makers] == ["False"] * 3
    assert [digest(path) for path in tmp_path.iterdir()] == [SHA256_OF_5M]


def test_a_failed_attempt_leaves_nothing_and_says_what_to_do(tmp_path):
    full_disk = (
        "import resource, sys; from pathlib import Path; from benchsuite.servers.model import make_model\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "make_model('5m', Path(sys.argv[1]))"
    )
    tried = subprocess.run(
        [sys.executable, "-c", full_disk, str(tmp_path)], capture_output=True, text=True, check=False
    )
    last = tried.stderr.splitlines()[-1]
    assert "TargetError" in last and "BENCHSUITE_CACHE" in last
    assert list(tmp_path.iterdir()) == []


def test_unknown_shape_names_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match="5m, 50m, 300m"):
        model.make_model("7b", tmp_path)


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
