"""What of two arms' trials is set side by side."""

import msgspec

from benchsuite.pairs import default_metrics, takes
from benchsuite.stats.series import MEASURES
from benchsuite.types import Point


def test_what_is_looked_at_by_default():
    closed = Point(index=0, prompt_tokens=9, output_tokens=9, concurrency=4)
    open_loop = msgspec.structs.replace(closed, concurrency=None, rate=2.0)
    assert default_metrics([closed]) == (
        *("ttft_p50", "ttft_p90", "tpot_p50", "tpot_p90", "e2e_p50", "e2e_p90", "output_tokens_per_s"),
    )
    assert default_metrics([open_loop])[:2] == ("ttft_from_due_p50", "ttft_from_due_p90")
    assert set(default_metrics([msgspec.structs.replace(closed, stream=False)])) == {
        *("e2e_p50", "e2e_p90", "output_tokens_per_s"),
    }
    assert set(default_metrics([closed])) <= set(MEASURES)


def test_dollars_for_what_passed_take_a_check_as_well_as_a_price():
    assert "checks answers" in takes("usd_per_1k_passed") and "--gpu" in takes("usd_per_1k_passed")
    assert "checks answers" not in takes("cost_per_1k_usd") and "--gpu" in takes("cost_per_1k_usd")
