"""Conversations on the real embedded engine: what it remembers of them, and how long planned ones are."""

import json
from itertools import groupby, pairwise

import pytest

from tests.engines.command import benchsuite

pytest.importorskip("xllamacpp", reason="the embedded engine has no wheel for this platform")
pytestmark = pytest.mark.engine

TALK = ("--turns", "3", "--user-tokens", "32", "--prompt-tokens", "128", "--output-tokens", "12")
ALL = ("--think", "0.4", "--concurrency", "2", "--requests", "12", "--trials", "1")


def conversations(store):
    lines = benchsuite(store, "show", "latest", "--format", "jsonl").splitlines()
    found = sorted(map(json.loads, lines), key=lambda record: record["index"])
    assert {record["outcome"] for record in found} == {"ok"}
    talks = [list(turns) for _, turns in groupby(found, lambda record: record["conversation"])]
    assert [[record["turn"] for record in turns] for turns in talks] == [[0, 1, 2]] * 4
    return talks


@pytest.mark.parametrize("replies", ["real", "fixed"])
def test_the_cache_grows_with_the_conversation(tmp_path, replies):
    # 3: on a busy machine the verdict may be invalid; what was cached is the same.
    text = benchsuite(tmp_path, "run", *TALK, *ALL, "--replies", replies, expect=(0, 3))
    assert "By turn of the conversation" in text
    for turns in conversations(tmp_path):
        for before, record in pairwise(turns):
            # All of the prompt before, less the template's end and what the engine computes anew.
            assert record["cached_tokens"] > before["cached_tokens"]
            assert record["cached_tokens"] > 0.8 * before["prompt_tokens"]
            assert record["prompt_tokens"] > before["prompt_tokens"] + 32
            # A real reply was there before the user had done thinking.
            assert record["due_ns"] == before["end_ns"] + 400_000_000
            assert record["sent_ns"] - record["due_ns"] < 400_000_000
            if replies == "fixed":
                assert abs(record["prompt_tokens"] - record["asked_prompt_tokens"]) <= 4
