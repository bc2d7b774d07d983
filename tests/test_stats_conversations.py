"""Conversations judged: think time is no idle slot, growth no drift, and a turn may find the one before."""

import msgspec

from benchsuite.report.hits import hit_cell, hit_heading, hit_words
from benchsuite.stats.talks import by_turn
from benchsuite.types import Point
from tests.trials import CLOSED, KNOWN, WORKLOAD, codes, failed, request, summarise, summary, table

TALK = msgspec.structs.replace(CLOSED, turns=4.0, think_s=0.1)


def spoken(conversations=10, *, cached=True, longer=30.0):
    """One conversation after another; each turn takes `longer` ms more, and somebody thinks for 100 ms."""
    records, at = [], 0.0
    for number in range(conversations):
        for turn in range(4):
            tokens = 100 + 50 * turn
            records.append(
                request(
                    at,
                    first=50 + longer * turn,
                    prompt_tokens=tokens,
                    asked_prompt_tokens=tokens,
                    cached_tokens=tokens - 50 if turn and cached else 0,
                    conversation=number,
                    turn=turn,
                )
            )
            at += 200 + longer * turn
    return records


def judged(point: Point = TALK, records=None):
    return summary(spoken() if records is None else records, point=point)


def test_thinking_growth_and_hits_of_later_turns_are_no_faults():
    found = judged()
    assert codes(found).keys().isdisjoint({"delivered", "cache_cold", "prompt_tokens", "steadiness"})
    # The same records as single requests are wrong in each of these ways.
    alone = judged(CLOSED, [msgspec.structs.replace(one, turn=None, conversation=None) for one in spoken()])
    assert {"delivered", "cache_cold"} <= codes(alone).keys()


def test_a_first_turn_that_was_cached_is_still_wrong():
    known = [msgspec.structs.replace(one, cached_tokens=60) if not one.turn else one for one in spoken()]
    assert codes(judged(records=known))["cache_cold"] == "invalid"


def test_a_hit_ratio_is_held_against_first_turns_as_later_ones_find_more():
    def talk(first, planned=True):
        """Each later turn finds all that was said before it; of a first one half is to be found."""
        records = spoken()
        for index, one in enumerate(records):
            found = one.prompt_tokens - 50 if one.turn else first
            asked = (one.prompt_tokens - 50 if planned else None) if one.turn else 50
            group = None if one.turn else 0
            records[index] = msgspec.structs.replace(
                one, cached_tokens=found, asked_cached_tokens=asked, group=group
            )
        # Warm-up has sent the prefix.
        warm = msgspec.structs.replace(records[0], index=99)
        known = table([warm], records)
        return known.set_column(known.column_names.index("trial"), "trial", [[0] + [1] * len(records)]).cast(
            known.schema
        )

    point = msgspec.structs.replace(TALK, cache="shared", hit_ratio=0.5)
    workload = msgspec.structs.replace(WORKLOAD, cache=("shared",), hit_ratio=(0.5,), turns=4, user_tokens=50)
    found = summarise(point, talk(50), (), **KNOWN | {"workload": workload})
    assert found.means["hit_ratio_asked"] > 0.6, "of all turns, as the table shows it"
    assert "cache_shared" not in codes(found)
    wrong = summarise(point, talk(0), (), **KNOWN | {"workload": workload})
    assert codes(wrong)["cache_shared"] == "invalid"
    assert "first_hit_ratio" not in found.means
    # How long the server's own answers are is in no plan: what was asked is of first turns alone.
    real = summarise(point, talk(50, planned=False), (), **KNOWN | {"workload": workload})
    assert real.means["hit_ratio"] == found.means["hit_ratio"] > 0.6, "of all answered requests"
    assert (real.means["first_hit_ratio"], real.means["hit_ratio_asked"]) == (0.5, 0.5)
    assert "cache_shared" not in codes(real)
    said = hit_words(real)
    assert said == f"cache hits {100 * real.means['hit_ratio']:.1f} % of prompt tokens, " + (
        "50.0 % of first turns', asked 50.0 %"
    )
    assert hit_cell(real) == "50.0/50.0 %" and "1st turns" in hit_heading([real])
    assert "1st turns" not in hit_heading([found])
    lost = summarise(point, talk(10, planned=False), (), **KNOWN | {"workload": workload})
    (told,) = [each for each in lost.warnings if each.code == "cache_shared"]
    assert told.level == "invalid" and told.message.startswith("10 % of first turns' prompt tokens came from")
    # What blocks explain is what the best first turn found, not a later one.
    short = summarise(point, talk(40, planned=False), (), **KNOWN | {"workload": workload})
    (told,) = [each for each in short.warnings if each.code == "cache_shared"]
    assert told.level == "told" and "blocks" in told.message
    unknown = [msgspec.structs.replace(one, cached_tokens=None) for one in spoken()]
    silent = summarise(point, table(unknown), (), **KNOWN | {"workload": workload})
    assert silent.means["hit_ratio"] is None and "first_hit_ratio" not in silent.means


def test_growth_within_one_long_conversation_is_no_drift_but_a_slower_server_is():
    assert "steadiness" not in codes(judged(records=spoken(40, longer=200.0)))
    slower = [
        msgspec.structs.replace(one, end_ns=one.end_ns + index * 2_000_000)
        for index, one in enumerate(spoken(40))
    ]
    assert "steadiness" in codes(judged(records=slower))


def test_conversations_are_counted_where_every_turn_was_answered():
    rates = judged().rates
    # Between the first begin and the last, 9 conversations end in 9 × 980 ms.
    assert abs(rates["conversations_per_s"].value - 1 / 0.98) < 1e-6
    broken = spoken()
    broken[7] = failed(980 + 690, 1700, conversation=1, turn=3, connect_us=None)
    assert abs(judged(records=broken).rates["conversations_per_s"].value - 8 / 9 / 0.98) < 1e-6


def test_the_numbers_by_turn():
    records = spoken()
    records[7] = failed(980 + 690, 1700, conversation=1, turn=3)
    rows = by_turn(TALK, table(records), ())
    assert [(row.turn, row.requests, row.ok) for row in rows] == [
        (0, 10, 10),
        (1, 10, 10),
        (2, 10, 10),
        (3, 10, 9),
    ]
    assert [row.prompt_tokens for row in rows] == [100, 150, 200, 250]
    assert [row.cached_share for row in rows] == [0.0, 100 / 150, 150 / 200, 200 / 250]
    assert [row.ttft_p50_ms.value for row in rows] == [50, 80, 110, 140]
    unknown = [msgspec.structs.replace(one, cached_tokens=None) for one in records]
    assert {row.cached_share for row in by_turn(TALK, table(unknown), ())} == {None}


def test_many_turns_share_the_last_row():
    records = [request(100 * turn, conversation=0, turn=turn) for turn in range(30)]
    rows = by_turn(TALK, table(records), ())
    assert [(row.turn, row.last) for row in rows[-2:]] == [(10, 10), (11, 29)]
    assert rows[-1].requests == 19


def test_open_loops_are_held_to_their_arrivals():
    """Later turns come when they come: only first ones have a pace that was asked for."""
    point = msgspec.structs.replace(TALK, concurrency=None, rate=1 / 0.98)
    assert "delivered" not in codes(judged(point))
    late = [
        msgspec.structs.replace(one, due_ns=one.due_ns - one.conversation * 100_000_000)
        if not one.turn
        else one
        for one in spoken()
    ]
    assert codes(judged(point, late))["delivered"] == "invalid"
