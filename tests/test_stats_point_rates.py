"""From records to a summary: rates, and the facts that verdicts rest on, counted by hand."""

import msgspec
import numpy as np
import pytest

from benchsuite.stats.facts import Conditions
from benchsuite.stats.verdict import summarise_all
from benchsuite.types import Lengths, Point, Slo
from tests.trials import (
    CLOSED,
    KNOWN,
    MS,
    OFFLINE,
    OPEN,
    START,
    codes,
    failed,
    in_turn,
    request,
    selftest,
    summarise,
    summary,
    table,
    trial_info,
)


def test_closed_loop_rates_are_those_between_first_full_and_last_send():
    # One slot: from the first send to the twentieth 1.9 s, 19 answers of 5 tokens. The last request
    # and a slow tail don't count.
    requests = [*in_turn(19), request(1900, tail=5000)]
    found = summary(requests, infos=[trial_info(last_send=1900)])
    assert found.rates["requests_per_s"].value == pytest.approx(10)
    assert found.rates["output_tokens_per_s"].value == pytest.approx(50)
    assert found.rates["tokens_per_s_per_user"].value == pytest.approx(100)
    assert found.means["in_flight"] == pytest.approx(1)


def test_tokens_count_where_they_arrive():
    # Two slots, the second filled at 50 ms: the window is (50, 550]. The first request's first
    # token arrives at 50 and is out; 550 lies before the last two requests' first tokens but for one.
    requests = [request(sent) for sent in (0, 50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 550)]
    point = Point(index=0, prompt_tokens=100, output_tokens=5, concurrency=2)
    found = summary(requests, point=point, infos=[trial_info(last_send=550)])
    # Sent 0: 4 of 5; sent 50 … 450: all; sent 500: its first; 550: none. 50 tokens in 0.5 s.
    assert found.rates["output_tokens_per_s"].value == pytest.approx((4 + 9 * 5 + 1) / 0.5)
    # Usage is spread over events.
    twice = [request(sent, output_tokens=10) for sent in range(0, 551, 50)]
    assert summary(twice, point=point).rates["output_tokens_per_s"].value == pytest.approx(200)


def test_an_answer_without_events_arrives_at_its_end():
    plain = dict(first_token_ns=None, last_token_ns=None, first_output_ns=None, gaps_us=[])
    found = summary([request(i * 100, **plain) for i in range(20)])
    assert found.rates["output_tokens_per_s"].value == pytest.approx(50)
    assert found.metrics["ttft"].n == 0 and found.rates["tokens_per_s_per_user"].value is None


def test_open_loop_rates_are_those_of_the_steady_state():
    # Due 0 … 3950 ms, each taking 1.9 s: 20 req/s of 5 tokens once the first has ended.
    steady = [request(i * 50, first=1800, gaps=(20,) * 4, tail=20) for i in range(80)]
    found = summary(steady, point=OPEN, slo=Slo(e2e_ms=2000))
    assert found.rates["requests_per_s"].value == pytest.approx(20)
    assert found.rates["goodput_per_s"].value == pytest.approx(20)
    assert found.rates["output_tokens_per_s"].value == pytest.approx(100, rel=0.02)
    assert found.means["in_flight"] == pytest.approx(38)
    assert "short_trial" not in codes(found)


def test_an_open_loop_that_hardly_leaves_its_ramp_up_is_taken_whole():
    # Of 3.5 s less than half is left after 1.9 s: 71 answers from the first send to the last end.
    found = summary([request(i * 50, first=1890, gaps=()) for i in range(71)], point=OPEN)
    assert found.rates["requests_per_s"].value == pytest.approx(71 / 5.4)
    assert codes(found)["short_trial"] == "told"


def test_a_ramp_up_is_no_drift_but_an_overload_is():
    # E2E rises to 900 ms while the first fill the server, then it is steady but for noise.
    waits = np.minimum(40 + 20 * np.arange(100), 890) + np.random.default_rng(1).normal(0, 2, 100)
    ramp = [request(i * 20, first=float(waits[i]), gaps=()) for i in range(100)]
    assert "steadiness" not in codes(summary(ramp, point=OPEN))
    overload = [request(i * 20, first=40 + 20 * i, gaps=(), output_tokens=5) for i in range(100)]
    found = summary(overload, point=OPEN)
    # The five tokens of an answer come in one event.
    assert codes(found) == {"steadiness": "suspect", "several_tokens": "told", "short_trial": "told"}
    assert found.warnings[0].facts["change"] > 1


def test_offline_rates_run_to_the_last_end():
    found = summary([request(0, due=0, tail=10 * (i + 1)) for i in range(20)], point=OFFLINE)
    assert found.rates["requests_per_s"].value == pytest.approx(20 / 0.29)
    assert codes(found) == {}


def test_a_short_trial_is_taken_whole_and_says_so():
    point = Point(index=0, prompt_tokens=100, output_tokens=5, concurrency=8)
    found = summary([request(0) for _ in range(8)], point=point)
    assert found.rates["requests_per_s"].value == pytest.approx(80)
    assert codes(found) == {"short_trial": "told"}


def test_goodput_counts_what_met_every_limit_and_failures_as_misses():
    requests = [
        *[request(i * 100) for i in range(10)],
        *[request(i * 100, first=45, gaps=(30, 5, 5, 5)) for i in range(10, 14)],
        *[request(i * 100, first=5) for i in range(14, 19)],
        failed(1850, 1900),
        request(1900),
    ]
    slo = Slo(ttft_ms=50, tpot_ms=10)
    assert summary(requests, slo=slo).rates["goodput_per_s"].value == pytest.approx(15 / 1.9)
    assert summary(requests, slo=Slo(ttft_ms=10)).rates["goodput_per_s"].value == pytest.approx(5 / 1.9)
    # A quick failure isn't quick service.
    assert summary(requests, slo=Slo(e2e_ms=500)).rates["goodput_per_s"].value == pytest.approx(19 / 1.9)
    assert "goodput_per_s" not in summary(requests).rates
    # Open loops are judged from due.
    late = [request(i * 100 + 1, due=i * 100) for i in range(20)]
    assert summary(late, point=OPEN, slo=slo).rates["goodput_per_s"].value == 0


def test_prefill_leaves_out_cached_tokens_and_the_servers_queue():
    queue = '{"queue_time_ms": 10.0, "other": 1}'
    found = summary(in_turn(cached_tokens=20, server_timings=queue)).rates["prefill_tokens_per_s"]
    assert (found.value, found.basis) == (pytest.approx(80 / 0.040), "estimate, this trial only")
    unknown = in_turn(cached_tokens=None)
    assert summary(unknown).rates["prefill_tokens_per_s"].value == pytest.approx(100 / 0.050)
    assert "prefill_tokens_per_s" not in summary(unknown, cache="warm").rates


def test_the_trial_is_the_unit_of_rates():
    found = summary(in_turn(), in_turn(step=125), in_turn(step=200)).rates["requests_per_s"]
    # 10, 8 and 5 a second: s = 2.517, times 4.303 / sqrt(3).
    assert (found.value, found.basis) == (pytest.approx(23 / 3), "3 trials")
    assert found.high - found.value == pytest.approx(6.25, abs=0.01)


def test_tokens_per_second_of_a_user_turn_tpot_and_its_interval_around():
    found = summary(*(in_turn(gaps=(gap,) * 4) for gap in (9, 10, 11)))
    tpot, per_user = found.metrics["tpot"].quantiles["p50"], found.rates["tokens_per_s_per_user"]
    assert (per_user.low, per_user.value, per_user.high) == pytest.approx(
        (1e3 / tpot.high, 1e3 / tpot.value, 1e3 / tpot.low)
    )


# ---------------------------------------------------------------- facts that verdicts rest on


def test_the_facts_reach_the_rules():
    def level(code, *trials, **known):
        return codes(summary(*trials, **known)).get(code)

    late = [request(i * 100 + 3, due=i * 100) for i in range(20)]
    assert level("send_lag", late) == "suspect"
    assert level("errors", [*in_turn(), failed(2000, 2100)]) == "suspect"
    assert level("coalesced", in_turn(merged_events=1)) == "invalid"
    assert level("reader_lag", in_turn(reader_lag_us=3000)) is None
    assert level("reader_lag", in_turn(reader_lag_us=3000, user_stamps=True)) == "suspect"
    assert level("worker_cpu", in_turn(), infos=[trial_info(cpu_s=0.95)]) == "suspect"
    assert level("clock_step", in_turn(), infos=[trial_info(clock_steps=1)]) == "invalid"
    assert level("descriptors", in_turn(), infos=[trial_info(unopened=1)]) == "invalid"
    assert level("output_tokens", in_turn(output_tokens=6)) == "invalid"
    assert level("prompt_tokens", in_turn(prompt_tokens=103)) == "invalid"
    assert level("prompt_tokens", in_turn(prompt_tokens=103), same="text") is None
    assert level("cache_cold", in_turn(cached_tokens=16)) == "invalid"
    fits = Lengths(words=("a",), overhead=16, source="usage")
    assert level("cache_cold", in_turn(cached_tokens=16), lengths=fits) is None
    assert level("cache_cold", in_turn(cached_tokens=17), lengths=fits) == "suspect"
    assert level("cache_warm", [*in_turn(19, cached_tokens=0), request(1900, cached_tokens=96)], cache="warm")
    assert level("cache_warm", in_turn(cached_tokens=82), cache="warm") is None
    assert level("over_slots", [request(i) for i in range(20)], identity_slots=19, point=OPEN) == "told"
    assert level("missing_usage", in_turn(output_tokens=None)) == "told"
    assert level("round_trip", in_turn(connect_us=4000)) == "told"
    # 512 at once wait for each other: only the quickest tells of the way.
    assert level("round_trip", [*in_turn(19, connect_us=7700), request(1900, connect_us=100)]) is None
    assert level("worker_cpu", in_turn(), infos=[trial_info(cpu_s=0.49, wall_s=0.49)]) is None
    assert level("wrong_model", in_turn(), model="a", models=("b",)) == "suspect"
    assert level("own_error", in_turn(), in_turn(), in_turn(), selftest=selftest(streams=1)) == "told"
    assert level("own_error", in_turn(), selftest=selftest(streams=1)) is None
    assert level("own_error", in_turn(), selftest=selftest(rate=5.0), point=OPEN) == "told"
    assert level("interrupted", in_turn(), interrupted=True) == "told"
    assert level("no_answers", [failed(0, 1)]) == "invalid"
    assert level("no_answers", in_turn(), [failed(0, 1)]) == "invalid"
    assert level("few_answers", in_turn(5)) == "told"
    (off,) = summary(in_turn(prompt_tokens=110), lengths=fits).warnings
    assert off.code == "prompt_tokens" and "template alone takes 100" not in off.advice
    (off,) = summary(in_turn(prompt_tokens=110), lengths=msgspec.structs.replace(fits, overhead=100)).warnings
    assert "template alone takes 100" in off.advice


def test_a_point_that_was_never_measured():
    for infos in ([], [trial_info()]):
        found = summary([], infos=infos, interrupted=True)
        assert (found.requests, found.verdict) == (0, "invalid")
        assert found.warnings[0].message == "nothing was sent"
        assert found.metrics["ttft"].quantiles["p50"].value is None
        assert found.rates["requests_per_s"].value is None


def test_delivered_concurrency():
    # Each slot stays empty for 3 ms of 103.
    assert codes(summary(in_turn(step=103)))["delivered"] == "invalid"
    assert codes(summary(in_turn(step=101.5)))["delivered"] == "suspect"
    assert "delivered" not in codes(summary(in_turn(step=100.5)))
    # A slot that waits for the connection that the server makes it open isn't idle.
    assert "delivered" not in codes(summary(in_turn(step=103, connect_us=2000, tls_us=1000)))
    assert codes(summary(in_turn(step=103, connect_us=500)))["delivered"] == "invalid"
    # An answer that takes long at the very end, with the other slot empty, isn't the load's fault.
    point = Point(index=0, prompt_tokens=100, output_tokens=5, concurrency=2)
    pairs = [request(sent) for i in range(10) for sent in (i * 100, i * 100)]
    assert codes(summary([*pairs, request(1000), request(1000, tail=9000)], point=point)) == {}


def test_delivered_rate_is_measured_against_the_arrivals_drawn():
    rng = np.random.default_rng(3)
    due = np.cumsum(rng.exponential(100, 40)).tolist()
    assert abs(40 / due[-1] * 100 - 1) > 0.05, "the draw itself is off its rate"
    punctual = summary([request(at, due=at, first=5, gaps=(1,) * 4, tail=1) for at in due], point=OPEN)
    assert codes(punctual) == {}
    slower = [request(at * 1.05, due=at, first=5, gaps=(1,) * 4, tail=1) for at in due]
    assert codes(summary(slower, point=OPEN))["delivered"] == "invalid"


def test_a_burst_at_one_instant_has_no_rate_to_be_delivered():
    found = summary([request(at, due=0, first=5, gaps=(1,) * 4, tail=1) for at in range(8)], point=OPEN)
    assert "delivered" not in codes(found)


def test_a_cap_in_flight_makes_requests_late_without_the_clients_doing():
    # Ten a second, each taking 200 ms, one at a time: request i leaves at 200 i, right when its slot is free.
    held = [request(i * 200, due=i * 100, tail=110) for i in range(20)]
    capped = Point(index=0, prompt_tokens=100, output_tokens=5, concurrency=1, rate=10.0)
    found = codes(summary(held, point=capped))
    assert "send_lag" not in found and found["delivered"] == "invalid"
    assert codes(summary(held, point=OPEN))["send_lag"] == "invalid"
    slow_client = [request(i * 206, due=i * 100, tail=110) for i in range(20)]
    assert codes(summary(slow_client, point=capped))["send_lag"] == "invalid"
    # Its connection couldn't be begun before the cap let it go.
    reopened = [request(i * 206, due=i * 100, tail=110, connect_us=2000, tls_us=4000) for i in range(20)]
    assert "send_lag" not in codes(summary(reopened, point=capped))


def test_a_second_try_is_not_late_by_the_clients_doing():
    lost = [request(i * 100 + 101 * (i < 4), due=i * 100, reconnects=int(i < 4)) for i in range(20)]
    assert "send_lag" not in codes(summary(lost, point=OPEN))
    kept = [request(i * 100 + 101 * (i < 4), due=i * 100) for i in range(20)]
    assert codes(summary(kept, point=OPEN))["send_lag"] == "invalid"


def test_an_opening_longer_than_any_before_makes_nobody_late():
    """Connections are begun twice as long ahead as openings were seen to take, within 20 to 500 ms."""

    def level(lag, opening, usual=40, point=OPEN, **changes):
        punctual = [request(i * 100, connect_us=usual * 500, tls_us=usual * 500) for i in range(16)]
        waited = dict(connect_us=opening * 500, tls_us=opening * 500, **changes)
        two = [request(i * 100 + lag, due=i * 100, **waited) for i in (20, 20)]
        return codes(summary([*punctual, *two], point=point)).get("send_lag")

    assert level(120, opening=200) is None  # 200 of which 80 were begun before it was due
    assert level(123, opening=200) == "suspect"
    assert level(160, opening=200) == "invalid"
    assert level(30, opening=40) == "invalid"  # it was open in time
    assert level(80, opening=100, usual=1) is None
    assert level(700, opening=1200, usual=900) is None
    assert level(400, opening=1200, usual=900) is None
    assert level(704, opening=1200, usual=900) == "suspect"
    # In a closed loop the opening is in the due instant already.
    assert level(120, opening=200, point=CLOSED) == "invalid"


def test_a_drift_is_found_once_and_corrected_for_the_number_of_points():
    def point_with(slope, index):
        rng = np.random.default_rng(index)
        wait = 50 + slope * np.arange(200) / 200 + rng.normal(0, 5, 200)
        records = [request(i * 100, first=float(wait[i])) for i in range(200)]
        point = Point(index=index, prompt_tokens=100, output_tokens=5, concurrency=None, rate=10.0)
        return point, table(records), [trial_info(point=index)]

    points = [point_with(20, 0), *(point_with(0, index) for index in range(1, 4))]
    drifting, *others = summarise_all(points, Conditions(**KNOWN))
    assert codes(drifting) == {"steadiness": "suspect"} and drifting.verdict == "suspect"
    assert [codes(other) for other in others] == [{}] * 3
    alone = summarise(*point_with(20, 0), **KNOWN)
    p_alone, p_of_four = (found.warnings[0].facts["p"] for found in (alone, drifting))
    assert p_of_four > 2 * p_alone


def test_a_single_straggler_condemns_no_run():
    one = [request(step * 100) for step in range(18)]
    one[5] = request(500, due_ns=START + 480 * MS)
    assert "send_lag" not in codes(summary(one))
    two = list(one)
    two[9] = request(900, due_ns=START + 880 * MS)
    assert codes(summary(two))["send_lag"] == "invalid"
