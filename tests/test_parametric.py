"""Workloads that are fits of published traces: what is planned has the trace's quantiles and cv."""

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchsuite.types import Lengths
from benchsuite.workload.arrivals import offsets_ns
from benchsuite.workload.draw import Draw
from benchsuite.workload.drawn import output_lengths, prompt_lengths
from benchsuite.workload.fit import words
from benchsuite.workload.load import load, overridden
from benchsuite.workload.plan import plan
from benchsuite.workload.points import points
from benchsuite.workload.trace_files import rows_of

PUBLIC = Path(os.environ.get("BENCHSUITE_TRACES", Path(__file__).parents[2] / "shared" / "traces"))
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
STATED = {
    "azure-code": (
        "AzureLLMInferenceTrace_code.csv",
        (147, 578, 1469, 2744, 5188, 7303, 7436),
        (7, 9, 13, 24, 55, 90, 251),
        2.567,
        13.15,
    ),
    "azure-chat": (
        "AzureLLMInferenceTrace_conv.csv",
        (207, 396, 1020, 1189, 2734, 4083, 4142),
        (54, 85, 129, 395, 424, 451, 601),
        5.530,
        1.094,
    ),
    "mooncake-chat": (
        "mooncake_conversation_head.jsonl",
        (978, 2652, 7926, 17052, 29286, 45337, 95038),
        (24, 155, 359, 479, 605, 703, 1158),
        3.026,
        2.262,
    ),
}
"""The traces' files, quantiles of prompts and outputs, requests a second and cv (of Mooncake's counts)."""


def draw(name, requests):
    workload = overridden(load(name), requests=requests)
    (at,) = points(workload)
    lengths = Lengths(words=words(), overhead=2, source="usage")
    return Draw(workload=workload, point=at, phase="measure", trial=1, seed=3, nonce="", lengths=lengths)


@pytest.mark.parametrize("name", STATED)
def test_lengths_have_the_quantiles_of_the_trace(name):
    _, prompts, outputs, *_ = STATED[name]
    one = draw(name, 60_000)
    for found, wanted in ((prompt_lengths(one, 3), prompts), (output_lengths(one), outputs)):
        got = np.quantile(np.fromiter(islice(found, 60_000), int), SHARES)
        assert got == pytest.approx(wanted, rel=0.05), name


@pytest.mark.parametrize("name", [*STATED, "burst"])
def test_arrivals_have_the_rate_and_the_cv_of_the_trace(name):
    rate, cv = STATED[name][3:] if name in STATED else (4.0, 3.008)
    number = 1_500_000 if cv > 5 else 200_000
    at_s = np.fromiter(offsets_ns(draw(name, number)), float, number) / 1e9
    gaps = np.diff(at_s)
    assert 1 / gaps.mean() == pytest.approx(rate, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


@pytest.mark.parametrize("name", STATED)
def test_what_is_stated_of_a_trace_is_in_its_file(name):
    file, prompts, outputs, rate, cv = STATED[name]
    if not (PUBLIC / file).exists():
        pytest.skip(f"{file} isn't here; BENCHSUITE_TRACES names the folder that has it")
    rows, _, _ = rows_of(PUBLIC / file)
    for field, wanted in (("prompt_tokens", prompts), ("output_tokens", outputs)):
        assert np.quantile([getattr(row, field) for row in rows], SHARES) == pytest.approx(wanted, rel=0.01)
    at_s = np.array([row.at_ns for row in rows]) / 1e9
    assert len(rows) / at_s[-1] == pytest.approx(rate, rel=0.01)
    gaps, counts = np.diff(at_s), np.bincount((at_s // 3).astype(int))
    steps = name == "mooncake-chat"
    found = np.sqrt(counts.var() / counts.mean()) if steps else gaps.std() / gaps.mean()
    assert found == pytest.approx(cv, rel=0.01)
    if name == "azure-code":
        within = gaps[gaps <= 10]
        assert within.std() / within.mean() == pytest.approx(3.008, rel=0.01), "what burst says"


@pytest.mark.parametrize("name", [*STATED, "burst"])
def test_each_can_be_planned_and_names_its_source(name):
    workload = load(name)
    (at,) = points(workload)
    lengths = Lengths(words=words(), overhead=7, source="usage")
    requests = list(
        islice(plan(workload, at, phase="measure", trial=1, seed=0, nonce="", lengths=lengths), 20)
    )
    assert len({request.messages for request in requests}) == 20
    assert "CC-BY 4.0" in workload.description or "Apache-2.0" in workload.description
    if name in STATED:
        assert "independently" in workload.description
        assert len({request.prompt_tokens for request in requests}) > 10
    if name == "mooncake-chat":
        shares = [request.reusable_tokens / request.prompt_tokens for request in requests]
        assert sum(r.reusable_tokens for r in requests) / sum(
            r.prompt_tokens for r in requests
        ) == pytest.approx(0.366, abs=0.01), shares
