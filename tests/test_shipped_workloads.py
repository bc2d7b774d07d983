"""Each shipped workload explains itself, plans each of its points, and does so alike in every process."""

import json
import os
import subprocess
import sys

import msgspec
import pytest

from benchsuite.cli import main
from benchsuite.workload.load import load, shipped, workload_digest
from benchsuite.workload.passages import counted
from benchsuite.workload.points import points
from tests import test_workload_plans as plans

PLANNED = [name for name in shipped() if name not in plans.NEEDS_A_FILE]


@pytest.mark.parametrize("name", shipped())
def test_each_card_is_printed(name, capsys):
    assert main(["workloads", "show", name]) == 0
    told = capsys.readouterr().out
    assert " ".join(load(name).description.split())[:40] in " ".join(told.split())
    assert workload_digest(load(name)) in told


@pytest.mark.parametrize("name", PLANNED)
def test_each_point_has_a_first_request(name):
    firsts = [request for request, _ in plans.calls(name) if request.index == 0]
    assert len(firsts) == len(points(load(name)))
    assert all(request.messages and request.max_output_tokens >= 1 for request in firsts)


def toy_lengths(text):
    """What passages cost on a server whose tokens are four characters, rounded up word by word."""

    def tokens_of(asked):
        return 11 + sum(-(-len(word) // 4) for word in asked.split())

    probes = counted(text, 4096, plans.LENGTHS)
    asked = next(probes)
    while True:
        try:
            asked = probes.send(tuple(map(tokens_of, asked)))
        except StopIteration as end:
            return msgspec.structs.replace(plans.LENGTHS, passages=end.value)


def digests():
    """The digest of each workload, and of each whose passages were counted on the toy."""
    found = {name: plans.digest(name) for name in PLANNED}
    for name in PLANNED:
        if load(name).text != "random":
            found[f"{name} counted"] = plans.digest(name, toy_lengths(load(name).text))
    return found


def test_two_other_processes_come_to_the_same_digests():
    here = digests()
    assert {name: here[name] for name in PLANNED} == plans.DIGESTS
    counted_ = {name for name in here if name.endswith(" counted")}
    assert len(counted_) > 12
    assert any(here[name] != here[name.removesuffix(" counted")] for name in counted_)
    code = "import json, tests.test_shipped_workloads as here; print(json.dumps(here.digests()))"
    for hash_seed in ("1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == here
