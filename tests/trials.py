"""A small language of trials: records with timings in ms, small enough to be counted by hand."""

import math

import msgspec
import pyarrow as pa

from benchsuite.stats import Conditions, summarise_all
from benchsuite.store.records import table_of
from benchsuite.testing import record
from benchsuite.types import (
    Point,
    Selftest,
    SelftestLevel,
    Slo,
    TrialInfo,
    WorkerHealth,
    Workload,
)

MS = 1_000_000
START = 10**15


def request(sent, *, due=None, first=50, gaps=(10, 10, 10, 10), tail=10, **changes):
    """One answered request; instants in ms since START, by default E2E 100 ms of five tokens."""
    due = sent if due is None else due
    first_ns = START + round((sent + first) * MS)
    last_ns = first_ns + round(sum(gaps) * MS)
    known = dict(
        due_ns=START + round(due * MS),
        sent_ns=START + round(sent * MS),
        first_byte_ns=first_ns,
        first_token_ns=first_ns,
        first_output_ns=first_ns,
        last_token_ns=last_ns,
        end_ns=last_ns + tail * MS,
        gaps_us=[round(gap * 1000) for gap in gaps],
        prompt_tokens=100,
        output_tokens=len(gaps) + 1,
        cached_tokens=0,
        reads=len(gaps) + 1,
    )
    return record(**known | changes)


def failed(sent, end, **changes):
    known = dict(
        outcome="http_error",
        error_kind="overloaded",
        first_token_ns=None,
        first_output_ns=None,
        last_token_ns=None,
        end_ns=START + end * MS,
        gaps_us=[],
        reads=0,
        prompt_tokens=None,
        output_tokens=None,
        cached_tokens=None,
    )
    return request(sent, **known | changes)


def trial_info(trial=1, last_send=0, point=0, **worker):
    health = dict(sent=1, cpu_s=0.1, wall_s=1.0, clock_steps=0, reuse=True, kernel_stamps=True, stopped=False)
    return TrialInfo(
        point=point,
        trial=trial,
        start_ns=START,
        last_send_ns=START + last_send * MS,
        end_ns=0,
        plan_digest="",
        workers=(WorkerHealth(**health | worker),),
    )


def table(*trials):
    tables = [
        table_of(records).append_column("trial", pa.array([number] * len(records), pa.int32()))
        for number, records in enumerate(trials, 1)
    ]
    return pa.concat_tables(tables)


def selftest(**load):
    level = SelftestLevel(
        load="tested",
        **{"streams": None, "rate": None} | load,
        requests=1,
        ttft_error_p50_ms=0.1,
        ttft_error_p99_ms=0.3,
        itl_error_p99_ms=0.2,
        send_lag_p99_ms=0.1,
        achieved_rate=1.0,
        simulator_lateness_p99_ms=0.1,
        coalesced_share=0.0,
    )
    return Selftest(time="", version="", machine_id="", kernel_stamps=True, levels=(level,))


CLOSED = Point(index=0, prompt_tokens=100, output_tokens=5, concurrency=1)
OPEN = Point(index=0, prompt_tokens=100, output_tokens=5, concurrency=None, rate=10.0)
OFFLINE = Point(index=0, prompt_tokens=100, output_tokens=5, concurrency=None, rate=math.inf)
WORKLOAD = Workload(name="w", version=1, description="", prompt_tokens=(100,), output_tokens=(5,))
KNOWN = dict(
    capabilities_exact_output=True,
    identity_slots=None,
    lengths=None,
    workload=WORKLOAD,
)


def summary(*trials, point=CLOSED, infos=(), slo=None, cache="cold", same="tokens", **known):
    workload = msgspec.structs.replace(WORKLOAD, slo=slo or Slo(), cache=(cache,), same=same)
    point = msgspec.structs.replace(point, cache=cache)
    return summarise(point, table(*trials), infos, **KNOWN | {"workload": workload} | known)


def summarise(point, records, infos, **known):
    """One point alone."""
    (found,) = summarise_all([(point, records, infos)], Conditions(**known))
    return found


def in_turn(n=20, step=100, **changes):
    """A closed loop of one: each request is sent when the one before has ended."""
    return [request(i * step, **changes) for i in range(n)]


def codes(found):
    return {warning.code: warning.level for warning in found.warnings}
