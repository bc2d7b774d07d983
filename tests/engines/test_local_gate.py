"""Gates on the real embedded engine: the same model passes, a ten times larger one fails.

The limit is wide, so that they decide on a machine whose two cores serve, measure and do other things; what
a quiet one can see is told by `gate noise`.
"""

import json
from itertools import pairwise

import pytest

from benchsuite.store.runs import Store
from tests.engines.command import benchsuite

pytest.importorskip("xllamacpp", reason="the embedded engine has no wheel for this platform")
pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]

PASSES, FAILS = 0, 1
ASKED = ["--prompt-tokens", "64", "--output-tokens", "8", "--concurrency", "2", "--requests", "40"]
ASKED += ["--limit", "100%", "--format", "json", "--yes"]


def gated(store, target, base):
    """What a gate says; where it calls itself invalid, it is asked once more, as a user would."""
    words = ["gate", target, "--against", base, *ASKED]
    said = benchsuite(store, *words, expect=(0, 1, 3, 5)) or benchsuite(store, *words, expect=(0, 1, 5))
    return json.loads(said)


def test_the_same_model_passes_and_a_larger_one_fails(tmp_path):
    same = gated(tmp_path, "local:shape:5m", "local:shape:5m")
    assert same["verdict"] == "pass", same
    larger = gated(tmp_path, "local:shape:50m", "local:shape:5m")
    assert larger["verdict"] == "fail"
    assert all(row["ratio"] > 2 for row in larger["decision"]["judged"])
    runs = [run_dir.run() for run_dir in Store(tmp_path).runs()]
    # One engine at a time: each trial ended before the next one began.
    for pair in (runs[:2], runs[2:4]):
        trials = sorted((info.start_ns, info.end_ns) for run in pair for info in run.manifest.trials)
        assert all(end <= start for (_, end), (start, _) in pairwise(trials))
