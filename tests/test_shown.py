"""What may be shown and stored: no key, home, private host or foreign folder, and all the rest."""

import sys

import pytest

from benchsuite.shown import (
    mask_command,
    masked_url,
    shown_identity,
    shown_model,
    shown_settings,
    shown_word,
    where_it_is,
    without_secrets,
)
from benchsuite.types import Identity


@pytest.fixture(autouse=True)
def home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")


def test_a_command_keeps_its_options_but_no_keys_and_no_folders():
    argv = [sys.executable, "--api-key", "k1", "--hf-token=k2", "--model=/home/ann/m.gguf", "/srv/ann/n.gguf"]
    masked = mask_command([*argv, "--max-tokens", "8", "--prompt-tokens-details", "two words"])
    assert masked == (
        "python --api-key *** --hf-token=*** --model=~/m.gguf n.gguf "
        "--max-tokens 8 --prompt-tokens-details 'two words'"
    )


@pytest.mark.parametrize(
    ("argv", "masked"),
    [
        (["--api-key", "k1", "k2", "--seed", "7"], "--api-key *** *** --seed 7"),
        (["--api-key", "-k1", "--seed", "7"], "--api-key *** --seed 7"),
        (["-hft", "k1", "--seed", "7"], "-hft *** --seed 7"),
        (["--kv-config", '{"api_key": "k1", "port": 1}'], """--kv-config '{"api_key": "***", "port": 1}'"""),
        (["--traces", "http://ann:k1@gpu-box:4317/v1?token=k2"], "--traces http://private-host:4317/v1"),
        (["--traces=https://api.example.com/v1"], "--traces=https://api.example.com/v1"),
        (["--lora", "s3://team-bucket/adapter"], "--lora s3://private-host/adapter"),
        (["/srv/ann/env/bin/python3.12", "-m", "vllm"], "python -m vllm"),
    ],
)
def test_keys_hide_in_many_places(argv, masked):
    assert mask_command(argv) == masked


def test_what_a_command_said_is_told_without_its_keys():
    argv = ["--api-key", "sk-1", "sk-1-longer", "--hf-token=a,b7", "--seed", "7"]
    assert without_secrets("{'key': ['sk-1', 'sk-1-longer'], b7, seed 7}", argv) == (
        "{'key': ['***', '***'], ***, seed 7}"
    )
    assert without_secrets("--api-key= is empty", ["--api-key="]) == "--api-key= is empty"


def test_urls_keep_what_is_public():
    assert masked_url("https://ann:pw@api.example.com:8443/v1?key=k") == "https://api.example.com:8443/v1"
    assert masked_url("http://localhost:8000") == "http://localhost:8000"
    assert masked_url("http://[::1]:8000") == "http://[::1]:8000"
    for private in ("gpu-box", "10.0.0.8", "llm.corp"):
        assert masked_url(f"http://{private}:1/v1") == "http://private-host:1/v1"
    assert masked_url("http://k:sk-1@host:99999") == "***"


def test_only_a_server_that_might_have_been_started_here_is_told_as_running():
    assert where_it_is("http://localhost:8000", attached=True).endswith(" (already running)")
    assert where_it_is("http://private-host:8000", attached=True).endswith(" (already running)")
    assert where_it_is("https://api.anthropic.com", attached=True) == "at https://api.anthropic.com"
    assert where_it_is("http://127.0.0.1:8000", attached=False) == "started here"


def test_models_are_shown_without_folders(monkeypatch):
    names = ("/home/ann/m/x.gguf", "/srv/models/y/", "org/z", "C:\\Users\\ann\\w.gguf", "/home/anna/v")
    shown = ("~/m/x.gguf", "y", "org/z", "w.gguf", "v")
    assert tuple(map(shown_model, names)) == shown
    assert shown_identity(Identity(server="s", models=names)).models == shown
    monkeypatch.setenv("HOME", "/")
    assert shown_model("/srv/models/y") == "y"


def test_an_engines_settings_are_shown_without_folders():
    asked = {"tp": "2", "draft-model": "/srv/ann/draft", "chat-template": "/home/ann/t.jinja"}
    assert shown_settings(asked) == {"tp": "2", "draft-model": "draft", "chat-template": "~/t.jinja"}


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ('{"a":{"url":"redis://user:pw@10.1.2.3:6379"}}', '{"a":{"url":"redis://private-host:6379"}}'),
        ("sql=/data/alice/adapters/sql", "sql=sql"),
        ('{"model": "/data/alice/draft"}', '{"model": "draft"}'),
        ("vllm:/data/acme-deals/m", "vllm:m"),
        ("a=/data/one,b=/data/two", "a=one,b=two"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("shape:50m", "shape:50m"),
        ("tp=2,dtype=bfloat16", "tp=2,dtype=bfloat16"),
        ("redis://u:p,w@10.1.2.3:6379", "redis://private-host:6379"),
        ("redis://u:p@w@10.1.2.3:6379", "redis://private-host:6379"),
        ("10.1.2.3:6379", "private-host:6379"),
        ('{"ip": "192.168.0.7", "bind": "0.0.0.0"}', '{"ip": "private-host", "bind": "0.0.0.0"}'),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ('{"m": "/data/acme deals/m x"}', '{"m": "m x"}'),
        ('{"m": ["/data/a", "/home/ann/b"]}', '{"m": ["a", "~/b"]}'),
        ("[/data/a,/data/b]", "[a,b]"),
        ("vllm:/data/acme:deals/m", "vllm:m"),
        ("sql=/home/ann/a,law=rel/b", "sql=~/a,law=rel/b"),
        ('{"m": "C:\\\\Users\\\\bob\\\\w"}', '{"m": "w"}'),
        ("file:///data/acme/t", "file://t"),
        ("org/model", "org/model"),
        ("x=./a/b", "x=./a/b"),
    ],
)
def test_private_paths_and_passwords_are_found_inside_words(word, shown):
    assert shown_word(word) == shown


def test_a_password_in_a_url_is_left_out_of_what_an_engine_says():
    said = "can't connect to redis://user:hunter2@db as user:hunter2, password hunter2"
    hidden = without_secrets(said, ["engine", "--kv", '{"url":"redis://user:hunter2@db:1"}'])
    assert "hunter2" not in hidden and "can't connect" in hidden


def test_passwords_are_found_decoded_and_short_names_hide_nothing_else():
    hidden = without_secrets("pw p@ss1, meaning me@db", ["redis://u:p%40ss1@h", "redis://me@db"])
    assert hidden == "pw ***, meaning ***db"
    assert "x,y1" not in without_secrets("said x,y1", ["redis://u:x,y1@h"])
