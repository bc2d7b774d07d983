"""Conversations in the engine: who is due when, who holds a slot, what a failed turn takes with it."""

import fcntl
import hashlib
import json
import os
import subprocess
import threading
import time
from functools import partial
from itertools import groupby, pairwise

import psutil
import pytest

from benchsuite.engine.trial import Interrupt
from benchsuite.types import Message, Request

MS = 1_000_000


def talk(turns, think_ms, *, count=1, offsets_ns=None, real=False):
    """`count` conversations; the answer planned for request i is `planned i`."""
    for number in range(count):
        messages = (Message(role="user", content=f"first {number}"),)
        for turn in range(turns):
            index = number * turns + turn
            if turn:
                answer = "" if real else f"planned {index - 1}"
                said = Message(role="user", content=f"then {index}")
                messages += (Message(role="assistant", content=answer), said)
            yield Request(
                index=index,
                phase="measure",
                messages=messages,
                max_output_tokens=3,
                min_output_tokens=3,
                cache="warm",
                due_offset_ns=None if turn or offsets_ns is None else offsets_ns[number],
                conversation=number,
                turn=turn,
                turns=turns,
                after_ns=think_ms * MS if turn else 0,
            )


def answering(wire, *, fails=(), empty=(), breaks=(), pause_s=0.0, closes=False, gate=None):
    """A server whose answer to request i is `said i`."""

    def script(peer):
        while (heard := peer.request()) is not None:
            index = int(heard.request_id[4:])
            if gate is not None:
                gate.wait(20)
            time.sleep(pause_s)
            if index in breaks:
                peer.server.answered()
                return
            if index in fails:
                peer.answer(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}")
                continue
            events = [wire.token("" if index in empty else f"said {index}"), *wire.events(1)[1:]]
            body = b"".join(events)
            peer.answer(wire.OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            if closes:
                return

    return script


def by_conversation(records, turns):
    return [list(some) for _, some in groupby(records, lambda record: record.index // turns)]


def prompts(server):
    """What each request said, by its index."""
    found = {int(heard.request_id[4:]): json.loads(heard.body)["messages"] for heard in server.heard}
    return {index: [message["content"] for message in said] for index, said in found.items()}


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("closes", [False, True])
def test_a_turn_is_due_when_the_one_before_has_ended_and_somebody_has_thought(
    serve, wire, drive, real, closes
):
    server = serve(answering(wire, closes=closes))
    trial = drive.trial(server, slots=2, talks=True, quotes=real)
    done = drive.run(trial, talk(4, 30, count=5, real=real))
    assert [record.outcome for record in done.records] == ["ok"] * 20
    talks = by_conversation(done.records, 4)
    for turns in talks:
        for before, record in pairwise(turns):
            due_ns = before.end_ns + 30 * MS
            # A fresh connection takes its time, which isn't the client's fault.
            assert record.due_ns >= due_ns if closes else record.due_ns == due_ns
            assert record.sent_ns >= record.due_ns
    # A slot is free for another conversation when the whole one has ended.
    begun = sorted(turns[0].due_ns for turns in talks)
    assert begun[:2] == [done.run.start_ns] * 2
    freed = sorted(turns[-1].end_ns for turns in talks)[:3]
    if closes:
        assert all(due >= free for due, free in zip(begun[2:], freed, strict=True))
    else:
        assert begun[2:] == freed


@pytest.mark.parametrize("closed", [False, True])
def test_nobody_waits_for_somebody_who_thinks(serve, wire, drive, closed):
    """The other slot's three conversations are over before the first one's second turn."""
    server = serve(answering(wire))
    slow = list(talk(2, 1500))
    quick = [
        request
        for request in talk(2, 0, count=4, offsets_ns=None if closed else [0, 0, 0, 0])
        if request.conversation
    ]
    if not closed:
        slow[0] = next(talk(2, 1500, offsets_ns=[0]))
    trial = drive.trial(server, slots=2 if closed else None, closed=closed, talks=True)
    done = drive.run(trial, iter([*slow, *quick]))
    assert [record.outcome for record in done.records] == ["ok"] * 8
    assert max(record.end_ns for record in done.records[2:]) < done.records[1].sent_ns


@pytest.mark.parametrize("real", [False, True])
def test_turns_after_one_that_was_refused_are_recorded_as_skipped(serve, wire, drive, real):
    def script(peer):
        if peer.request() is not None:
            peer.server.close_door()
            peer.answer(wire.sized())

    trial = drive.trial(serve(script), slots=1, talks=True, quotes=real)
    done = drive.run(trial, talk(5, 5, real=real))
    assert [record.outcome for record in done.records] == ["ok", "refused", "skipped", "skipped", "skipped"]


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("how", ["fails", "breaks"])
def test_a_failed_turn_ends_its_conversation(serve, wire, drive, real, how):
    server = serve(answering(wire, **{how: {5}}))
    trial = drive.trial(server, slots=2, talks=True, quotes=real)
    done = drive.run(trial, talk(4, 5, count=4, real=real))
    assert [record.index for record in done.records] == list(range(16))
    failed = {"fails": "http_error", "breaks": "cut_off"}[how]
    outcomes = ["ok"] * 5 + [failed, "skipped", "skipped"] + ["ok"] * 8
    assert [record.outcome for record in done.records] == outcomes
    for record in done.records[6:8]:
        assert (record.error_kind, record.sent_ns) == ("earlier_turn", None)
        assert record.due_ns == record.end_ns == done.records[5].end_ns
    assert prompts(server).keys() == set(range(16)) - {6, 7}
    assert done.ticks[-1].done == 16


@pytest.mark.parametrize("workers", [1, 2])
def test_real_replies_stand_in_the_next_prompt(serve, wire, drive, workers):
    server = serve(answering(wire))
    # A new segment for every answer: they are followed from file to file.
    trial = drive.trial(server, slots=4, workers=workers, talks=True, quotes=True, rotate_bytes=1)
    done = drive.run(trial, talk(3, 20, count=6, real=True))
    assert [record.outcome for record in done.records] == ["ok"] * 18
    for index, said in prompts(server).items():
        number, turn = divmod(index, 3)
        first = number * 3
        wanted = [f"first {number}"]
        for later in range(first + 1, first + turn + 1):
            wanted += [f"said {later - 1}", f"then {later}"]
        assert said == wanted


def test_planned_replies_stand_in_the_next_prompt(serve, wire, drive):
    server = serve(answering(wire))
    drive.run(drive.trial(server, talks=True), talk(3, 0))
    assert prompts(server)[2] == ["first 0", "planned 0", "then 1", "planned 1", "then 2"]


def test_an_answer_that_says_nothing_can_not_be_quoted(serve, wire, drive):
    server = serve(answering(wire, empty={1}))
    trial = drive.trial(server, talks=True, quotes=True)
    done = drive.run(trial, talk(4, 5, count=2, real=True))
    # The turn before it was answered, only there is nothing to go on with.
    assert [record.outcome for record in done.records] == ["ok"] * 2 + ["skipped"] * 2 + ["ok"] * 4


def test_conversations_of_an_open_loop_begin_at_their_instants(serve, wire, drive):
    offsets_ns = [0, 20 * MS, 25 * MS, 90 * MS, 90 * MS]
    server = serve(answering(wire))
    trial = drive.trial(server, slots=None, closed=False, workers=2, talks=True)
    done = drive.run(trial, talk(3, 40, count=5, offsets_ns=offsets_ns))
    talks = by_conversation(done.records, 3)
    assert [turns[0].due_ns - done.run.start_ns for turns in talks] == offsets_ns
    for turns in talks:
        for before, record in pairwise(turns):
            assert record.due_ns == before.end_ns + 40 * MS
    # All turns of a conversation go to one worker.
    assert [worker.sent for worker in done.run.workers] == [9, 6]


def test_a_cap_holds_turns_back_but_not_their_due_instants(serve, wire, drive):
    server = serve(answering(wire, pause_s=0.01))
    trial = drive.trial(server, slots=1, closed=False, talks=True)
    done = drive.run(trial, talk(2, 0, count=4, offsets_ns=[0] * 4))
    assert server.most_in_flight == 1
    assert [record.outcome for record in done.records] == ["ok"] * 8
    for turns in by_conversation(done.records, 2):
        assert turns[1].due_ns == turns[0].end_ns


@pytest.mark.parametrize("real", [False, True])
def test_the_digest_is_that_of_the_bodies_in_the_plans_order(serve, wire, drive, real):
    server = serve(answering(wire))
    trial = drive.trial(server, slots=3, workers=3, talks=True, quotes=real)
    done = drive.run(trial, talk(3, 2, count=6, real=real))
    bodies = {int(heard.request_id[4:]): heard.body for heard in server.heard}
    digest = hashlib.sha256()
    for index in range(18):
        digest.update(hashlib.sha256(bodies[index]).digest()[:16])
    assert done.run.plan_digest(range(18)) == digest.hexdigest()


@pytest.mark.parametrize("real", [False, True])
def test_a_first_interrupt_ends_conversations_with_the_turn_under_way(serve, wire, drive, real):
    gate, interrupt = threading.Event(), Interrupt()
    server = serve(answering(wire, gate=gate))

    def on_tick(status):
        if status.in_flight == 2:
            if interrupt.level:
                gate.set()
            interrupt.level = 1

    trial = drive.trial(server, slots=2, talks=True, quotes=real)
    done = drive.run(trial, talk(3, 0, count=6, real=real), interrupt, on_tick)
    assert [(record.index, record.outcome) for record in done.records] == [(0, "ok"), (3, "ok")]
    assert done.run.workers[0].stopped


@pytest.mark.parametrize("real", [False, True])
def test_time_ends_conversations_where_they_are(serve, wire, drive, real):
    server = serve(answering(wire))
    trial = drive.trial(server, slots=2, seconds=0.5, talks=True, quotes=real)
    done = drive.run(trial, talk(60, 40, count=8, real=real))
    assert {record.outcome for record in done.records} == {"ok"}
    assert {record.index // 60 for record in done.records} == {0, 1}
    assert max(record.due_ns for record in done.records) < done.run.start_ns + 500 * MS
    assert not done.run.workers[0].stopped


def test_large_conversations_are_fed_in_time(serve, wire, drive):
    """More bytes than the worker holds ahead: it goes on taking turns of what has begun."""
    server = serve(answering(wire))
    requests = (
        Request(
            index=number * 3 + turn,
            phase="measure",
            messages=(Message(role="user", content="x" * 1_500_000),),
            max_output_tokens=3,
            min_output_tokens=3,
            cache="warm",
            conversation=number,
            turn=turn,
            turns=3,
        )
        for number in range(25)
        for turn in range(3)
    )
    done = drive.run(drive.trial(server, slots=2, talks=True), requests)
    assert [record.outcome for record in done.records] == ["ok"] * 75


@pytest.fixture
def narrow(monkeypatch):
    """Pipes to and from workers hold a page, so that few lines fill them."""
    make = os.pipe

    def pipe():
        ends = make()
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
        return ends

    if hasattr(fcntl, "F_SETPIPE_SZ"):
        monkeypatch.setattr(os, "pipe", pipe)
    monkeypatch.setattr(subprocess, "Popen", partial(subprocess.Popen, pipesize=4096))
    # Whoever waits for somebody who waits would do so forever.
    watch = threading.Timer(60, lambda: [child.kill() for child in psutil.Process().children()])
    watch.start()
    yield
    watch.cancel()


class Slow:
    """A driver that takes its time over turns that quote an answer, and counts them."""

    def __init__(self, driver, pause_s):
        self.driver, self.pause_s, self.turns = driver, pause_s, 0

    def __getattr__(self, name):
        return getattr(self.driver, name)

    def encode(self, request, target):
        if request.turn:
            self.turns += 1
            time.sleep(self.pause_s)
        return self.driver.encode(request, target)


def many(serve, wire, drive, pause_s):
    """A trial of 1,500 conversations of two turns, all due at once, and their requests."""
    driver = Slow(drive.driver, pause_s)
    server = serve(answering(wire))
    trial = drive.trial(server, closed=False, slots=8, talks=True, quotes=True, driver=driver)
    return trial, talk(2, 0, count=1500, offsets_ns=[0] * 1500, real=True)


def test_a_parent_slow_at_quoting_comes_to_the_end(serve, wire, drive, narrow):
    """The worker has more to say than its pipe takes while the parent writes more than it has read."""
    trial, requests = many(serve, wire, drive, 0.002)
    done = drive.run(trial, requests)
    assert [record.outcome for record in done.records] == ["ok"] * 3000


def test_a_second_interrupt_stops_a_parent_slow_at_quoting(serve, wire, drive, narrow):
    interrupt = Interrupt()

    def on_tick(status):
        if status.done >= 500:
            interrupt.level += 1

    trial, requests = many(serve, wire, drive, 0.02)
    done = drive.run(trial, requests, interrupt, on_tick)
    assert 500 <= len(done.records) < 3000
    assert trial.driver.turns < 1500
    assert done.run.workers[0].stopped
