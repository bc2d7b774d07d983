"""What prompts of a trace share: what its rows say, or what is asked where they say nothing."""

import random

import pytest

from benchsuite.errors import UsageError
from benchsuite.simulator import running
from tests.test_trace_files import FILES, written
from tests.test_traces import CACHING, measured, planned, replaying


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hit_ratio": (0.1, 0.9)}, "hit_ratio"),
        ({"groups": 4}, "groups"),
        ({"shared_tokens": 100, "groups": 2}, "shared_tokens and groups"),
    ],
)
def test_a_trace_with_block_ids_says_itself_what_is_shared(tmp_path, changes, named):
    path = written(tmp_path, FILES["mooncake"])
    with pytest.raises(UsageError, match=f"t.txt says itself which blocks .* shared: leave {named} out"):
        replaying(path, **changes)
    assert replaying(path)[0].trace.blocks


@pytest.mark.parametrize(
    ("changes", "share"),
    [({"groups": 4}, 0.5), ({"hit_ratio": 0.25}, 0.25), ({"shared_tokens": 150, "groups": 2}, None)],
)
def test_rows_without_blocks_share_what_is_asked(tmp_path, changes, share):
    drawn = random.Random(1)
    rows = "".join(f"{i / 100},{drawn.randint(20, 900)},2\n" for i in range(80))
    path = written(tmp_path, f"timestamp,prompt_tokens,output_tokens\n{rows}")
    opening = replaying(path, trials=1, **changes)
    with running(CACHING) as simulator:
        (row,) = measured(opening, simulator.url, tmp_path / "store").summaries
    assert row.means["hit_ratio"] == pytest.approx(row.means["hit_ratio_asked"], abs=0.02)
    assert "cache_shared" not in {warning.code for warning in row.warnings}
    requests = planned(*opening)
    if share is None:
        share = sum(
            150 if tokens > 150 else (tokens - 1) // 64 * 64
            for tokens in (one.prompt_tokens for one in requests)
        ) / sum(one.prompt_tokens for one in requests)
    assert row.means["hit_ratio"] == pytest.approx(share, abs=0.03)
    for group in range(opening[0].groups):
        begun = [one.messages[0].content[: one.shared_chars] for one in requests if one.group == group]
        assert len(set(begun)) > 1 and all(max(begun, key=len).startswith(one) for one in begun)
