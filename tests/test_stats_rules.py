"""The verdict table: for each rule what is still valid, what is suspect and what is invalid."""

import math

import msgspec
import pytest

from benchsuite.money.evidence import Use
from benchsuite.stats.facts import Nearest, nearest_tested
from benchsuite.stats.rules import RULES, verdict_warnings
from benchsuite.stats.verdict import worst
from benchsuite.types import Selftest, SelftestLevel
from tests.judged import SOUND, judged, levels

LEVEL = SelftestLevel(
    load="64 streams",
    streams=64,
    rate=None,
    requests=192,
    ttft_error_p50_ms=0.1,
    ttft_error_p99_ms=0.4,
    itl_error_p99_ms=0.2,
    send_lag_p99_ms=0.1,
    achieved_rate=100.0,
    simulator_lateness_p99_ms=0.1,
    coalesced_share=0.0,
)
TESTED = Nearest(level=LEVEL, load=8.0, largest=512.0)
EIGHT = Use(count=8, by="tp 8", exact=True)
WARM = msgspec.structs.replace(SOUND.workload, cache=("warm",))


def test_a_sound_point_has_no_warnings():
    assert levels() == {}


@pytest.mark.parametrize(
    ("code", "valid", "suspect", "invalid"),
    [
        ("send_lag", {"send_lag_p99_ms": 2.0}, {"send_lag_p99_ms": 5.0}, {"send_lag_p99_ms": 5.1}),
        # 2 % of a TTFT of 1 s is 20 ms.
        (
            "send_lag",
            {"send_lag_p99_ms": 2.0, "ttft_p50_ms": 1e3},
            {"send_lag_p99_ms": 20.0, "ttft_p50_ms": 1e3},
            {"send_lag_p99_ms": 20.1, "ttft_p50_ms": 1e3},
        ),
        ("coalesced", {"coalesced_share": 0.01}, {"coalesced_share": 0.05}, {"coalesced_share": 0.051}),
        ("reader_lag", {"reader_lag_p99_ms": 1.0}, {"reader_lag_p99_ms": 5.0}, {"reader_lag_p99_ms": 5.1}),
        ("worker_cpu", {"worker_cpu": 0.9}, {"worker_cpu": 0.99}, None),
        ("delivered", {"delivered_share": 0.991}, {"delivered_share": 0.981}, {"delivered_share": 0.979}),
        ("delivered", {"delivered_share": 1.009}, {"delivered_share": 1.019}, {"delivered_share": 1.021}),
        ("errors", {"ok": 1000}, {"ok": 990}, {"ok": 989}),
        # One error is never invalid, two of ten are.
        ("errors", {"requests": 10, "ok": 10}, {"requests": 10, "ok": 9}, {"requests": 10, "ok": 8}),
        ("output_tokens", {"output_tokens": 130.5}, {"output_tokens": 115.3}, {"output_tokens": 115.0}),
        ("prompt_tokens", {"prompt_tokens": 517.1}, {"prompt_tokens": 522.2}, {"prompt_tokens": 522.3}),
        ("cache_cold", {"cached_excess": 0.0}, {"cached_excess": 10.2}, {"cached_excess": 10.3}),
        (
            "cache_warm",
            {"workload": WARM, "hit_ratio": 0.971, "best_hit_ratio": 0.99},
            {"workload": WARM, "hit_ratio": 0.941, "best_hit_ratio": 0.99},
            {"workload": WARM, "hit_ratio": 0.93, "best_hit_ratio": 0.99},
        ),
        # Nothing is ever found: half the prompt at least could have been.
        (
            "cache_warm",
            {"workload": WARM, "hit_ratio": 0.49, "best_hit_ratio": 0.49},
            {"workload": WARM, "hit_ratio": 0.46, "best_hit_ratio": 0.46},
            {"workload": WARM, "hit_ratio": 0.0, "best_hit_ratio": 0.0},
        ),
        ("steadiness", {"steady_p": 0.01}, {"steady_p": 0.0099}, None),
        # However sure, a drift of 1 % is none.
        (
            "steadiness",
            {"steady_p": 1e-9, "steady_change": -0.01},
            {"steady_p": 1e-9, "steady_change": -0.0101},
            None,
        ),
        ("wrong_model", {"models": ("a", "m")}, {"models": ("a", "b")}, None),
        ("wrong_model", {"models": ("m:latest",)}, {"models": ("m:7b",)}, None),
        ("wrong_model", {"models": ("a",), "model": ""}, {"models": ("a",)}, None),
        (
            "gpu_contradicted",
            {"gpu": "H100", "gpus": ("NVIDIA H100 80GB HBM3",)},
            {"gpu": "H100", "gpus": ()},
            None,
        ),
        ("gpu_contradicted", {"gpu": "H100"}, {"gpu": "H100", "server_gpu": "NVIDIA L4"}, None),
        ("gpu_contradicted", {"gpus": ()}, {"gpu": "L4", "gpus": ("NVIDIA L40S",)}, None),
        (
            "gpu_contradicted",
            {"gpu": "H100x8", "gpus_used": EIGHT},
            {"gpu": "H100", "gpus_used": EIGHT},
            None,
        ),
        (
            "gpu_contradicted",
            {"gpu": "H100", "server_gpu": "NVIDIA H100 PCIe"},
            {"gpu": "H100", "server_gpu": "NVIDIA H100 PCIe", "gpu_priced": "H100 SXM"},
            None,
        ),
        ("clock_step", {"clock_steps": 0}, None, {"clock_steps": 1}),
        ("descriptors", {"unopened": 0}, None, {"unopened": 1}),
        ("no_answers", {"ok": 1}, None, {"ok": 0}),
        ("no_answers", {}, None, {"trials_without_answers": 1}),
    ],
)
def test_thresholds(code, valid, suspect, invalid):
    assert code not in levels(**valid)
    assert suspect is None or levels(**suspect)[code] == "suspect"
    assert invalid is None or levels(**invalid)[code] == "invalid"


def test_small_prompts_are_allowed_a_token_or_two():
    short = msgspec.structs.replace(SOUND.point, prompt_tokens=20)
    assert [levels(point=short, prompt_tokens=mean).get("prompt_tokens") for mean in (21.0, 22.0, 22.1)] == [
        None,
        "suspect",
        "invalid",
    ]


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("output_tokens", {"output_tokens": 64.0, "exact_output": False}),
        ("over_slots", {"in_flight": 9}),
        ("missing_usage", {"without_usage": 1}),
        ("short_trial", {"short_trials": 1}),
        ("round_trip", {"connect_least_ms": 5.1}),
        ("own_error", {"tested": TESTED, "ttft_half_width_ms": 0.39}),
        ("own_error", {"tested": TESTED, "ttft_p50_ms": 0.39}),
        ("own_error", {"tested": msgspec.structs.replace(TESTED, load=513.0)}),
        ("interrupted", {"interrupted": True}),
        ("few_answers", {"requests": 5, "ok": 5}),
    ],
)
def test_what_is_only_told(code, changes):
    assert levels(**changes) == {code: "told"}


def test_messages_carry_their_facts():
    (waiting,) = verdict_warnings(msgspec.structs.replace(SOUND, slots=1))
    assert waiting.message.startswith("7 of 8 wait")
    (errors,) = verdict_warnings(msgspec.structs.replace(SOUND, ok=997, error_kinds={"rate_limited": 3}))
    assert errors.message == "3 of 1000 requests failed (3 × rate_limited)"
    assert "--rate" in errors.advice and errors.facts["errors"] == 3


def only(code, **changes):
    (found,) = judged(**changes)
    assert found.code == code
    return found


def test_a_drift_says_how_large_it_is_and_what_helps_with_its_kind_of_load():
    drift = {"steady_p": 1e-4, "steady_change": 0.034}
    rate = msgspec.structs.replace(SOUND.point, concurrency=None, rate=20.0)
    closed, opened = only("steadiness", **drift), only("steadiness", **drift, point=rate)
    assert closed.message == "E2E drifts by +3.4 % within a trial (Mann-Kendall p = 0.0001)"
    assert "--rate" not in closed.advice and "--rate" in opened.advice
    opened = only("short_trial", short_trials=1, point=rate)
    assert "--duration" in opened.advice and "--requests" not in opened.advice


def test_the_own_error_is_set_against_what_is_smaller():
    assert levels(tested=TESTED, ttft_half_width_ms=0.4, ttft_p50_ms=1.0) == {}
    assert levels(tested=TESTED, ttft_half_width_ms=None) == {}
    found = only("own_error", tested=TESTED, ttft_half_width_ms=0.25)
    assert "± 0.25 ms" in found.message and "0.4 ms (p99, 64 streams)" in found.message
    far = msgspec.structs.replace(TESTED, load=1000.0)
    assert only("own_error", tested=far).message.startswith("1000 streams were never tested here")


@pytest.mark.parametrize(
    ("changes", "in_flight", "level", "load"),
    [
        ({"concurrency": 4}, None, 1, 4),
        # As far from 1 as from 64: the larger, whose error is.
        ({"concurrency": 8}, None, 64, 8),
        ({"concurrency": 2000}, None, 512, 2000),
        ({"concurrency": None, "rate": 3.0}, 100.0, "rate", 3),
        ({"concurrency": None, "rate": math.inf}, 400.0, 512, 400),
        ({"concurrency": None, "rate": math.inf}, None, None, None),
    ],
)
def test_the_nearest_tested_load(changes, in_flight, level, load):
    tested = [msgspec.structs.replace(LEVEL, streams=streams) for streams in (1, 64, 512)]
    rate = msgspec.structs.replace(LEVEL, streams=None, rate=200.0)
    point = msgspec.structs.replace(SOUND.point, **changes)
    known = Selftest(time="", version="", machine_id="", kernel_stamps=True, levels=(*tested, rate))
    found = nearest_tested(known, point, in_flight)
    if level is None:
        assert found is None
        return
    assert (found.level.streams or "rate", found.load) == (level, load)
    assert (found.largest, found.unit) == ((200, "requests/s") if level == "rate" else (512, "streams"))


def test_a_round_trip_below_a_millisecond_is_none():
    assert levels(connect_least_ms=1.0, ttft_p50_ms=2.0) == {}
    assert levels(connect_least_ms=1.1, ttft_p50_ms=2.0) == {"round_trip": "told"}


def test_what_was_asked_for_and_what_is_listed_are_named():
    found = only("wrong_model", model="big", models=("a", "b", "c", "d"))
    assert found.message == "asked for big, the server lists a, b, c, …"


def test_a_gpu_that_is_not_there_is_named_as_it_was_stated():
    one = ("NVIDIA H100 80GB HBM3",)
    found = only("gpu_contradicted", gpu="h100x8", gpus=one)
    assert found.message == "h100x8 was stated, but this machine has only 1 × NVIDIA H100 80GB HBM3"
    assert "leave --gpu out" in found.advice


def test_a_warm_cache_is_held_against_the_best_request():
    found = only("cache_warm", workload=WARM, hit_ratio=0.6, best_hit_ratio=0.9)
    assert "60 %" in found.message and found.message.endswith("; the best request found 90 %")
    found = only("cache_warm", workload=WARM, hit_ratio=0.1, best_hit_ratio=0.2)
    assert found.message.endswith("found 20 %, and half is the least to ask for")


def test_the_worst_comes_first_and_decides():
    found = verdict_warnings(msgspec.structs.replace(SOUND, slots=1, worker_cpu=1.0, clock_steps=1))
    assert [warning.level for warning in found] == ["invalid", "suspect", "told"]
    assert worst(warning.level for warning in found) == "invalid"
    assert (worst(["told", "suspect"]), worst(["told"]), worst([])) == ("suspect", "valid", "valid")


def test_every_rule_is_in_the_table():
    assert len(set(RULES)) == len(RULES) == 31
