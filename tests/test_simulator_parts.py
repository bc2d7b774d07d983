"""The simulator's pure parts: draws, prefix cache, configuration, truth log."""

import statistics
from functools import partial

import msgspec
import pytest

from benchsuite.errors import StoreError, UsageError
from benchsuite.simulator import SimConfig, TruthEntry, read_truth
from benchsuite.simulator.prompts import PrefixCache
from benchsuite.simulator.timing import (
    draw_fault,
    first_token_ns,
    gap_ns,
    lognormal,
    request_rng,
    steady_itl_ns,
)
from benchsuite.simulator.truth import TruthLog


def entry(number: int) -> TruthEntry:
    return TruthEntry(
        request_id=f"r-{number}",
        outcome="ok",
        fault="",
        status=200,
        received_ns=1,
        events_ns=[2, 3],
        due_lateness_us_max=0,
        lateness_us=[0, 0],
        end_ns=3,
        prompt_tokens=9,
        output_tokens=2,
        cached_tokens=0,
    )


def test_draws_have_the_mean_and_spread_that_were_asked_for():
    rng = request_rng(1, 1)
    drawn = [lognormal(rng, 50.0, 0.5) for _ in range(40_000)]
    assert statistics.fmean(drawn) == pytest.approx(50.0, rel=0.02)
    assert statistics.stdev(drawn) / statistics.fmean(drawn) == pytest.approx(0.5, rel=0.05)


def test_draws_repeat_with_the_seed_and_differ_between_requests():
    config = SimConfig(ttft_cv=0.3)
    same = {first_token_ns(request_rng(5, 2), config, 0) for _ in range(3)}
    other = {first_token_ns(request_rng(seed, number), config, 0) for seed, number in ((5, 3), (6, 2))}
    assert len(same) == 1
    assert len(same | other) == 3


def test_prefill_and_slow_down_add_up():
    config = SimConfig(ttft_ms=50, itl_ms=10, prefill_us_per_token=100, batch_slowdown=0.25)
    rng = request_rng(0, 1)
    assert first_token_ns(rng, config, 30) == 53_000_000
    assert gap_ns(rng, config, 1, 1) == 10_000_000
    assert gap_ns(rng, config, 3, 5) == 60_000_000
    assert steady_itl_ns(config) == 0
    assert steady_itl_ns(SimConfig(itl_ms=2.5)) == 2_500_000


def test_faults_come_as_often_as_asked():
    rates = SimConfig(reset_rate=0.3, short_rate=0.1).fault_rates()
    drawn = [draw_fault(request_rng(0, number), rates) for number in range(5_000)]
    assert drawn.count("reset") / 5_000 == pytest.approx(0.3, abs=0.03)
    assert drawn.count("short") / 5_000 == pytest.approx(0.1, abs=0.02)
    assert set(drawn) == {"", "reset", "short"}


def test_the_prefix_cache_counts_whole_blocks_of_the_longest_common_prefix():
    cache = PrefixCache(4, 8)
    first = [str(i) for i in range(11)]
    assert cache.use(first) == 0
    assert cache.use(first) == 8
    assert cache.use(first[:6] + ["new"] * 10) == 4
    assert cache.use(["new", *first]) == 0
    assert cache.use(first[:8]) == 4, "the last token is always computed"
    assert cache.use(first[:3]) == 0
    assert cache.use([]) == 0


def test_the_prefix_cache_forgets_what_was_used_longest_ago():
    cache = PrefixCache(2, 2)
    one, two, three = ([name] * 5 for name in "abc")
    for prompt in (one, two, one, three):
        cache.use(prompt)
    assert cache.use(one) == 4
    assert cache.use(two) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"ttft_ms": -1},
        {"itl_ms": float("nan")},
        {"tokens_per_event": 0},
        {"reset_rate": 0.6, "stall_rate": 0.6},
        {"tls_cert": "cert.pem"},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(fields):
    with pytest.raises(UsageError):
        SimConfig(**fields)


def test_a_truth_log_reads_back_without_a_last_line_cut_short(tmp_path):
    path = tmp_path / "truth.jsonl"
    log = TruthLog(str(path))
    for number in range(20):
        log.add(0, partial(entry, number))
    log.write_some()
    assert 0 < len(read_truth(path)) < 20
    log.close()
    assert read_truth(path) == [entry(number) for number in range(20)]
    path.write_bytes(path.read_bytes()[:-5])
    assert len(read_truth(path)) == 19


def test_a_file_that_is_no_truth_log_is_told(tmp_path):
    path = tmp_path / "truth.jsonl"
    path.write_bytes(msgspec.json.encode({"other": 1}) + b"\n")
    with pytest.raises(StoreError, match=r"truth\.jsonl"):
        read_truth(path)
