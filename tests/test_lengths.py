"""Fitting lengths on servers that don't count their answers, or refuse one-token answers."""

import json

import pytest

from benchsuite.driver import load
from benchsuite.engine.endpoint import resolve
from benchsuite.errors import TargetError
from benchsuite.lengths import fitted
from benchsuite.simulator import SimConfig, running
from benchsuite.target import Resolved
from benchsuite.types import Connection, Identity, Target
from benchsuite.workload.fit import words


def who(driver, url, model="sim-model"):
    target = Target(backend=driver.name, url=url, model=model)
    return Resolved(
        driver=driver,
        target=target,
        endpoint=resolve(target, Connection()),
        identity=Identity(server="sim", models=("sim-model",)),
        attached=True,
    )


def test_a_server_without_usage_is_asked_for_its_tokens():
    with running(SimConfig(engine="vllm", usage=False, template_tokens=9, itl_ms=0, ttft_ms=0)) as simulator:
        lengths = fitted(who(load("vllm"), simulator.url), lambda stage: None)
    assert (lengths.source, lengths.overhead, lengths.words) == ("tokenizer", 9, words())


def test_usage_comes_first_and_without_a_tokenizer_lengths_are_assumed():
    with running(SimConfig(engine="vllm", template_tokens=9, itl_ms=0, ttft_ms=0)) as simulator:
        assert fitted(who(load("vllm"), simulator.url), lambda stage: None).source == "usage"
    with running(SimConfig(usage=False, itl_ms=0, ttft_ms=0)) as simulator:
        assert fitted(who(load("sim"), simulator.url), lambda stage: None).source == "assumed"


def test_a_model_that_isnt_there_is_answered_with_those_that_are():
    with running(SimConfig(strict=True)) as simulator, pytest.raises(TargetError) as told:
        fitted(who(load("sim"), simulator.url, "nope"), lambda stage: None)
    assert "HTTP 404" in str(told.value)
    assert str(told.value).endswith("; it lists sim-model: give --model as listed")


class Roomy(type(load("sim"))):
    """A model that refuses to answer in a single token, as some reasoning models do."""

    def encode(self, request, target):
        call = super().encode(request, target)
        body = json.loads(call.body)
        if body["max_tokens"] == 1:
            body["max_tokens"] = 0
        return type(call)(
            method=call.method, path=call.path, headers=call.headers, body=json.dumps(body).encode()
        )


def test_a_model_that_refuses_a_single_token_gets_room():
    with running(SimConfig(template_tokens=9, itl_ms=0, ttft_ms=0)) as simulator:
        lengths = fitted(who(Roomy(), simulator.url), lambda stage: None)
    assert (lengths.source, lengths.overhead) == ("usage", 9)
