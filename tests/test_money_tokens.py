"""Prices by the token: the catalogue's, stated ones, and what a run makes of them.

Sums are worked out by hand from the providers' lists as of November 2026.
"""

import math
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from benchsuite.conclude import priced
from benchsuite.money.tokens import listed_price, meter, pricer, stated_price
from benchsuite.stats import rates
from benchsuite.stats.columns import trials_of
from benchsuite.store.records import table_of
from benchsuite.testing import record
from benchsuite.types import TokenPrice, TrialInfo

DAY = datetime(2026, 11, 20, tzinfo=UTC)


def listed(model, provider, **more):
    found = listed_price(model, provider=provider, when=DAY, **more)
    assert found is not None
    return found


def test_a_provider_is_known_by_its_url_and_a_strangers_is_not():
    found = listed_price("gpt-5-mini", url="https://api.openai.com/v1", when=DAY)
    assert found == TokenPrice(
        provider="openai",
        model="gpt-5-mini",
        source=found.source,
        date="2026-11-20",
        usd_per_m_input=0.25,
        usd_per_m_output=2.0,
        usd_per_m_cached=0.025,
    )
    assert found.source.startswith("genai-prices ")
    assert listed_price("gpt-5-mini", url="http://localhost:8000") is None
    assert listed_price("no-such-model", provider="openai") is None
    assert listed_price("gpt-5-mini", provider="nobody") is None


def test_each_request_is_priced_alone_as_the_price_depends_on_its_size():
    usd = pricer(listed("gpt-6.1-sol", "openai"))
    assert usd(271_000, 0, 0, 0, 0) == pytest.approx(0.542)
    assert usd(273_000, 0, 0, 0, 0) == pytest.approx(1.092)


def test_cached_and_written_tokens_have_their_own_prices():
    usd = pricer(listed("claude-haiku-4-5", "anthropic"))
    # 100 fresh at $1, 1,000 written for an hour at $2, 2,000 read at $0.10, per million.
    assert usd(3_100, 0, 2_000, 1_000, 1_000) == pytest.approx(0.0023)
    # Written for five minutes: $1.25.
    assert usd(3_100, 0, 2_000, 1_000, 0) == pytest.approx(0.00155)


def test_batches_cost_less_where_the_catalogue_knows_it_and_are_unknown_elsewhere():
    assert listed("gpt-5-mini", "openai", batch=True).usd_per_m_output == 1.0
    assert pricer(listed("gpt-5-mini", "openai", batch=True))(1_000_000, 0, 0, 0, 0) == pytest.approx(0.125)
    assert listed_price("llama-3.1-8b-instant", provider="openrouter", batch=True, when=DAY) is None


def test_stated_prices_are_just_multiplied():
    usd = pricer(stated_price((2.0, 10.0, 0.5)))
    assert usd(1_000, 100, 400, 0, 0) == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 10) / 1e6)
    assert pricer(stated_price((2.0, 10.0)))(1_000, 0, 400, 0, 0) == pytest.approx(0.002)


def test_a_price_that_is_unknown_is_none_and_a_billed_failure_counts():
    usd = meter(stated_price((1.0, 1.0)))
    assert usd(record(output_tokens=None)) is None
    assert usd(record(outcome="cut_off", prompt_tokens=5, output_tokens=5)) == pytest.approx(1e-5)
    (kept,) = priced([record(prompt_tokens=1_000_000, output_tokens=0)], stated_price((3.0, 1.0)))
    assert kept.cost_usd == 3.0
    assert list(priced([record()], None)) == [record()]


def trials(*costs_of_trials):
    tables, infos = [], []
    for number, costs in enumerate(costs_of_trials, 1):
        found = [
            record(
                index=i,
                outcome=outcome,
                cost_usd=usd,
                prompt_tokens=100,
                output_tokens=10,
                due_ns=i,
                sent_ns=i,
            )
            for i, (outcome, usd) in enumerate(costs)
        ]
        tables.append(table_of(found).append_column("trial", pa.array([number] * len(found), pa.int32())))
        infos.append(
            TrialInfo(point=0, trial=number, start_ns=0, last_send_ns=9, end_ns=9, plan_digest="", workers=())
        )
    return [columns for _, columns in trials_of(pa.concat_tables(tables), infos)]


def test_a_thousand_requests_cost_all_that_was_billed_over_the_answered_ones():
    ok, failed = ("ok", 0.002), ("cut_off", 0.001)
    found = rates.billed(trials([ok, ok, failed], [ok, ok, ok]))
    assert found["cost_per_1k_usd"] == pytest.approx((1000 * 0.005 / 2, 2.0))
    assert found["cost_per_m_output_tokens_usd"] == pytest.approx((0.005 / 20 * 1e6, 0.006 / 30 * 1e6))
    assert found["cost_per_m_tokens_usd"] == pytest.approx((0.005 / 220 * 1e6, 0.006 / 330 * 1e6))


def test_without_prices_there_is_no_cost():
    assert rates.billed(trials([("ok", None)], [("ok", None)])) == {}
    assert all(math.isnan(usd) for usd in trials([("ok", None)])[0].cost_usd)


def test_an_answer_of_unknown_price_was_not_free():
    found = rates.billed(trials([("ok", 0.002), ("ok", None), ("ok", 0.004), ("ok", None)]))
    assert found["cost_per_1k_usd"] == pytest.approx((3.0,))
    assert found["cost_per_m_output_tokens_usd"] == pytest.approx((0.006 / 20 * 1e6,))
