"""Capabilities are found out from what a driver does, and a lie about any of them is told."""

import msgspec
import pytest

from benchsuite.driver import Capabilities, backends, load
from benchsuite.errors import UsageError
from benchsuite.observed import COMPARED, asked, leaves, lies, observed, optional_calls, read_out
from benchsuite.testing import tape
from benchsuite.types import Call, Reply, Target

TARGET = Target(backend="pretender", url="http://127.0.0.1:8000", model="m")


class Pretender:
    """Its body is what `does` makes of a request; it says of itself whatever it is given."""

    def __init__(self, does=None, doors=("chat",), launches=False, **said):
        self.does, self.doors, self.launches = does or (lambda request, target: {}), doors, launches
        known = dict.fromkeys(
            ("exact_output", "cache_off", "cached_tokens", "server_timings", "launch"), False
        )
        self.capabilities = Capabilities(**{**known, "endpoints": doors, "sampling": "no", **said})

    def launch(self, target):
        return "a way" if self.launches else None

    def encode(self, request, target):
        door = target.options.get("endpoint", self.doors[0])
        if door not in self.doors:
            raise UsageError("no such door")
        body = {"text": request.messages[0].content, "most": 16, **self.does(request, target)}
        return Call(method="POST", path=f"/{door}", body=msgspec.json.encode(body))


def found(driver, *replies, models=()):
    return observed(driver, TARGET, replies, models)


def told(driver, *replies, models=(), explained=None):
    return lies(found(driver, *replies, models=models), driver.capabilities, explained or {})


CASES = {
    "exact_output": [
        {"does": lambda request, target: {"min_tokens": request.min_output_tokens}},
        {"does": lambda request, target: {"options": {"ignore_eos": True}}},
        {"does": lambda request, target: {"config": f"least {request.min_output_tokens}"}},
    ],
    "cache_off": [
        {"does": lambda request, target: {"cache_prompt": request.cache != "cold"}},
        {"does": lambda request, target: {"cache_control": "5m"} if request.cache == "warm" else {}},
    ],
    "launch": [{"launches": True}],
    "reasoning": [
        {"does": lambda request, target: {"effort": request.reasoning} if request.reasoning else {}}
    ],
}


@pytest.mark.parametrize(("name", "does"), [(name, does) for name, all_ in CASES.items() for does in all_])
def test_what_it_does_is_seen_and_has_to_be_said(name, does):
    assert getattr(found(Pretender(**does)), name) is True
    assert not told(Pretender(**does, **{name: True}))
    assert told(Pretender(**does)) == [f"{name}: it says False, observed was True"]
    assert told(Pretender(**{name: True})) == [f"{name}: it says True, observed was False"]


def test_what_answers_show_is_seen_and_has_to_be_said():
    for name, shown in (("cached_tokens", 0), ("server_timings", {"queue_ms": 1.0})):
        reply = Reply(**{name: shown})
        assert not told(Pretender(**{name: True}), Reply(), reply)
        assert told(Pretender(), reply) == [f"{name}: it says False, observed was True"]
        assert told(Pretender(**{name: True}), Reply()) == [f"{name}: it says True, observed was False"]


def test_a_salt_is_no_switch():
    def salted(request, target):
        return {"cache_salt": request.messages[0].content.encode().hex()} if request.cache == "cold" else {}

    assert not found(Pretender(salted)).cache_off
    assert not told(Pretender(salted))


def test_a_door_is_one_that_leads_somewhere_of_its_own():
    assert found(Pretender(doors=("chat", "completions"))).endpoints == ("chat", "completions")
    few = Pretender(doors=("chat", "completions"), endpoints=("chat",))
    assert told(few) == ["endpoints: it says ('chat',), observed was ('chat', 'completions')"]
    many = Pretender(doors=("chat",), endpoints=("chat", "responses"))
    assert told(many) == ["endpoints: it says ('chat', 'responses'), observed was ('chat',)"]
    same = Pretender(doors=("chat",), endpoints=("chat", "completions"))
    same.encode = lambda request, target: Call(method="POST", path="/chat", body=b"{}")
    assert found(same).endpoints == ("chat",)


def test_sampling_may_depend_on_the_model():
    def by_model(request, target):
        return {} if target.model == "thinker" else {"temperature": 0}

    assert found(Pretender(by_model)).sampling == "yes"
    assert found(Pretender(by_model), models=("thinker",)).sampling == "by model"
    assert found(Pretender()).sampling == "no"
    assert told(Pretender(by_model, sampling="yes"), models=("thinker",)) == [
        "sampling: it says yes, observed was by model"
    ]


def test_a_reason_excuses_only_what_differs():
    driver = Pretender()
    reply = Reply(cached_tokens=1)
    assert not told(driver, reply, explained={"cached_tokens": "only with a flag"})
    assert "explains it, but" in told(driver, explained={"cached_tokens": "only with a flag"})[0]
    assert "nobody compares" in told(driver, explained={"token_ids": "who knows"})[0]


def test_every_capability_that_is_compared_can_be_a_lie():
    assert set(COMPARED) <= set(Capabilities.__struct_fields__)
    assert set(COMPARED) == {*CASES, "cached_tokens", "server_timings", "endpoints", "sampling"}


def test_a_body_is_flat_and_its_headers_count():
    call = Call(method="POST", path="/p", headers={"h": "1"}, body=b'{"a":[{"b":1},{}],"c":[]}')
    assert leaves(call) == {"path": "/p", "header h": "1", "body.a.0.b": 1, "body.a.1": {}, "body.c": []}
    assert leaves(Call(method="POST", path="/p", body=b"\xff"))["body"] == b"\xff"


def test_optional_calls_are_made_and_junk_says_nothing():
    class Counts(Pretender):
        def tokenize(self, text, target):
            return Call(method="POST", path="/tokenize", body=text.encode())

        def token_count(self, heard):
            return len(heard.body) or None

    assert [call.path for call in optional_calls(Counts(), TARGET)] == ["/tokenize"]
    assert not optional_calls(Pretender(), TARGET)
    assert found(Counts()).protocols == ("tokenizes",)
    assert read_out(Counts(), tape(b"abc"), TARGET) == [3]
    assert not read_out(Counts(), tape(b""), TARGET)


@pytest.mark.parametrize("name", sorted({*backends()} - {"http"}))
def test_a_request_differs_in_nothing_but_what_is_named(name):
    driver = load(name)
    target = Target(backend=name, url="http://127.0.0.1:8000/v1", model="m")
    assert leaves(driver.encode(asked(), target)) == leaves(driver.encode(asked(), target))
