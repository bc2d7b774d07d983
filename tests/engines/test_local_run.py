"""The main job on the real embedded engine: `benchsuite run` with no arguments, and a repeated prompt."""

import json

import psutil
import pytest

from tests.engines.command import benchsuite

pytest.importorskip("xllamacpp", reason="the embedded engine has no wheel for this platform")
pytestmark = pytest.mark.engine


def records(store):
    return [
        json.loads(line) for line in benchsuite(store, "show", "latest", "--format", "jsonl").splitlines()
    ]


def engines():
    return [
        p.pid
        for p in psutil.process_iter(["cmdline"])
        if "benchsuite.servers.llamacpp" in (p.info["cmdline"] or [])
    ]


def test_a_bare_run_measures_a_real_model(tmp_path):
    before = set(engines())
    # 3: on a busy machine the verdict may be invalid; the lengths below hold all the same.
    text = benchsuite(tmp_path, "run", "--duration", "1.5", expect=(0, 3))
    assert "first token after" in text
    assert "Next, a server of yours" not in text
    manifest = json.loads(benchsuite(tmp_path, "show", "latest", "--json"))["manifest"]
    assert 0 < manifest["load_seconds"] <= manifest["launch_seconds"]
    found = records(tmp_path)
    assert {record["outcome"] for record in found} == {"ok"}
    assert {record["output_tokens"] for record in found} == {32}
    assert all(abs(record["prompt_tokens"] - 64) <= 2 for record in found)
    assert {record["cached_tokens"] for record in found} == {0}
    assert all(len(record["gaps_us"]) == 31 for record in found)
    assert all(record["server_timings"] for record in found)
    assert set(engines()) <= before


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_repeated_prompt_comes_from_the_cache(tmp_path, endpoint):
    words = ("--endpoint", endpoint, "--cache", "warm", "--concurrency", "1", "--prompt-tokens", "200")
    benchsuite(tmp_path, "run", *words, "--requests", "6", "--trials", "2", expect=(0, 3))
    found = records(tmp_path)
    assert {record["outcome"] for record in found} == {"ok"}
    assert all(record["cached_tokens"] >= 190 for record in found)
    assert all(abs(record["prompt_tokens"] - 200) <= 4 for record in found)
