"""Lengths asked against lengths reached, in every dialect that the simulator speaks, by its own account."""

import pytest

from benchsuite.driver import load
from benchsuite.engine.endpoint import resolve
from benchsuite.engine.exchange import ask
from benchsuite.lengths import fitted
from benchsuite.simulator import SimConfig, running
from benchsuite.target import Resolved
from benchsuite.types import Connection, Identity, Spread, Target, Workload
from benchsuite.workload.plan import plan
from benchsuite.workload.points import points

DIALECTS = [
    ("sim", "", "chat"),
    ("openai", "", "chat"),
    ("openai", "", "completions"),
    ("openai", "", "responses"),
    ("anthropic", "", "messages"),
    ("gemini", "", "generateContent"),
    ("ollama", "ollama", "native"),
    ("ollama", "ollama", "generate"),
    ("lmstudio", "lmstudio", "native"),
    ("sglang", "sglang", "native"),
    ("tgi", "tgi", "native"),
    ("vllm", "vllm", "chat"),
    ("llamacpp", "llamacpp", "chat"),
    ("mlx", "mlx", "chat"),
    ("tensorrt", "tensorrt", "chat"),
    ("transformers", "transformers", "chat"),
]
FAST = dict(ttft_ms=0, itl_ms=0, template_tokens=9)
PROMPTS = Spread(kind="lognormal", mean=150, sd=100, low=20, high=600)
OUTPUTS = Spread(kind="lognormal", mean=12, sd=6, low=2, high=40)


def asked(text):
    """A fixed and a drawn length of prompts and answers each, as two points."""
    return Workload(
        name="w",
        version=1,
        description="d",
        text=text,
        prompt_tokens=(300, PROMPTS),
        output_tokens=(10, OUTPUTS),
        sweep="zip",
        concurrency=(4,),
        requests=12,
    )


def who(backend, url, endpoint):
    driver = load(backend)
    target = Target(backend=backend, url=url, model="sim-model", key="k", options={"endpoint": endpoint})
    return Resolved(
        driver=driver,
        target=target,
        endpoint=resolve(target, Connection()),
        identity=Identity(server="sim", models=("sim-model",)),
        attached=True,
    )


def pairs(found, workload, lengths):
    """(asked, reached) of prompts and of answers, over both points."""
    for point in points(workload):
        planned = list(plan(workload, point, phase="measure", trial=1, seed=0, nonce="n", lengths=lengths))
        calls = [found.driver.encode(request, found.target) for request in planned]
        for request, tape in zip(planned, ask(found.endpoint, found.target, calls, 4), strict=True):
            reply = found.driver.decode(tape)
            assert tape.status == 200 and reply.complete, reply.error_message
            yield request, (request.prompt_tokens, reply.prompt_tokens), reply.output_tokens


@pytest.mark.parametrize(("backend", "engine", "endpoint"), DIALECTS)
def test_prompts_and_answers_are_as_long_as_asked(backend, engine, endpoint):
    with running(SimConfig(engine=engine, **FAST)) as simulator:
        found = who(backend, simulator.url, endpoint)
        for text in ("prose", "code"):
            workload = asked(text)
            lengths = fitted(found, lambda stage: None, workload=workload)
            assert lengths.passages is not None and lengths.passages.text == text
            check(list(pairs(found, workload, lengths)))


def check(seen):
    for request, (prompt, reached), output in seen:
        assert abs(reached - prompt) <= max(2, 0.01 * prompt)
        assert output == request.max_output_tokens
    drawn = [(request.prompt_tokens, request.max_output_tokens) for request, _, _ in seen[12:]]
    assert {prompt for _, (prompt, _), _ in seen[:12]} == {300}
    assert len({prompt for prompt, _ in drawn}) > 8 and len({output for _, output in drawn}) > 5


def test_probing_that_takes_long_says_how_far_it_is():
    told = []
    with running(SimConfig(ttft_ms=400, itl_ms=0)) as simulator:
        found = who("sim", simulator.url, "chat")
        fitted(found, lambda stage: told.append(stage.text), workload=asked("prose"))
    assert any("texts counted so far" in text for text in told)


def test_random_words_and_the_same_text_need_no_further_probes(tmp_path):
    workload = asked("prose")
    with running(SimConfig(**FAST)) as simulator:
        found = who("sim", simulator.url, "chat")
        for changes in ({"text": "random"}, {"same": "text"}):
            changed = type(workload)(**{**_fields(workload), **changes})
            assert fitted(found, lambda stage: None, workload=changed).passages is None


def _fields(workload):
    return {name: getattr(workload, name) for name in workload.__struct_fields__}


def test_a_server_that_counts_nothing_gets_lengths_that_are_assumed():
    workload = asked("prose")
    with running(SimConfig(usage=False, **FAST)) as simulator:
        lengths = fitted(who("sim", simulator.url, "chat"), lambda stage: None, workload=workload)
    assert lengths.source == "assumed" and lengths.passages is None
    point = points(workload)[0]
    for request in plan(workload, point, phase="measure", trial=1, seed=0, nonce="n", lengths=lengths):
        assert 0.6 < len(request.messages[0].content.split()) / request.prompt_tokens < 0.9
