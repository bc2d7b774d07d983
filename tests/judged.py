"""A point of which nothing bad can be said, for the tests of rules to change."""

import msgspec

from benchsuite.stats.facts import Facts
from benchsuite.stats.rules import verdict_warnings
from benchsuite.types import Point, Workload

SOUND = Facts(
    point=Point(index=0, prompt_tokens=512, output_tokens=128, concurrency=8),
    workload=Workload(name="w", version=1, description="", prompt_tokens=(512,), output_tokens=(128,)),
    exact_output=True,
    slots=8,
    overhead=10,
    interrupted=False,
    model="m",
    models=(),
    tested=None,
    requests=1000,
    ok=1000,
    trials_without_answers=0,
    error_kinds={},
    ttft_p50_ms=100.0,
    ttft_half_width_ms=1.0,
    send_lag_p99_ms=0.1,
    coalesced_share=0.0,
    reader_lag_p99_ms=None,
    connect_least_ms=0.1,
    worker_cpu=0.2,
    clock_steps=0,
    delivered_share=1.0,
    in_flight=8,
    short_trials=0,
    prompt_tokens=512.0,
    output_tokens=128.0,
    without_usage=0,
    cached_excess=0.0,
    hit_ratio=0.0,
    best_hit_ratio=0.0,
    steady_p=0.5,
    steady_change=0.1,
)


def judged(**changes):
    if "point" not in changes and "workload" in changes:
        cache = changes["workload"].cache[0]
        changes["point"] = msgspec.structs.replace(SOUND.point, cache=cache)
    found = verdict_warnings(msgspec.structs.replace(SOUND, **changes))
    assert all(warning.message and warning.advice for warning in found)
    return found


def levels(**changes):
    return {warning.code: warning.level for warning in judged(**changes)}
