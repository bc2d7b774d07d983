"""An open loop's calls are the same ones, due at the same instants, however many workers send them."""

import json

import pytest

from benchsuite.driver import load as load_driver
from benchsuite.engine.asked import AskedWriter
from benchsuite.engine.endpoint import Endpoint
from benchsuite.engine.spec import CALL_HEAD
from benchsuite.engine.trial import Trial, _Plan
from benchsuite.types import Connection, Lengths, Source, Target
from benchsuite.workload.fit import words
from benchsuite.workload.load import load, overridden
from benchsuite.workload.material import opened
from benchsuite.workload.plan import plan
from benchsuite.workload.points import points
from benchsuite.workload.stages import parse_stages

LENGTHS = Lengths(words=words(), overhead=7, source="usage", turn_overhead=6)
ENDPOINT = Endpoint(
    family=2,
    address=("127.0.0.1", 9),
    server_name="h",
    host_header="h",
    tls=False,
    path_prefix="",
    proxy_connect=b"",
    connection=Connection(),
)
CHANGES = {
    "constant": {"arrivals": "constant"},
    "poisson": {},
    "gamma": {"arrivals_cv": 2.0},
    "bursts": {"burst_size": 5},
    "stages": {"stages": parse_stages("3s@2-20,2s@0,2s@10-1")},
    "conversations": {"turns": 4, "user_tokens": 20, "think_s": 0.5},
}


def asked(kind, folder):
    if kind == "trace":
        rows = [
            {"timestamp": number * number / 50, "prompt_tokens": 40 + number % 7, "output_tokens": 5}
            for number in range(60)
        ]
        (folder / "t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return overridden(load("trace"), trace=Source(file="t.jsonl"))
    rated = {} if kind == "stages" else {"rate": 15.0, "seconds": 6.0}
    return overridden(load("quick"), **rated, **CHANGES[kind])


def shares(kind, workers, folder):
    """The frames of each worker: a list of (index, due instant, payload) a worker."""
    workload, material = opened(asked(kind, folder), folder)
    target = Target(backend="openai", url="http://h", model="m")
    trial = Trial(
        endpoint=ENDPOINT,
        target=target,
        driver=load_driver("openai"),
        id_prefix="r-",
        stem=str(folder / f"{workers}"),
        point=0,
        trial=1,
        closed=False,
        slots=None,
        seconds=None,
        workers=workers,
        reuse=None,
        talks=kind == "conversations",
    )
    requests = plan(
        workload,
        points(workload)[0],
        phase="measure",
        trial=1,
        seed=0,
        nonce="n",
        lengths=LENGTHS,
        material=material,
    )
    with AskedWriter(trial.stem) as writer:
        planned = _Plan(trial, requests, writer)
        # The last worker asks first: who asks when mustn't matter.
        found = [list(planned.frames(number)) for number in reversed(range(workers))][::-1]
        return [[unpacked(frame) for frame in frames] for frames in found], bytes(planned.digests)


def unpacked(frame):
    length, index, due_ns = CALL_HEAD.unpack_from(frame)
    payload = frame[CALL_HEAD.size :]
    assert len(payload) == length
    return index, due_ns, payload


@pytest.mark.parametrize("kind", [*CHANGES, "trace"])
def test_any_number_of_workers_sends_the_same_calls_at_the_same_instants(kind, tmp_path):
    (alone,), digests = shares(kind, 1, tmp_path)
    assert len(alone) > 40
    assert [index for index, _, _ in alone] == list(range(len(alone)))
    for workers in range(2, 8):
        found, same = shares(kind, workers, tmp_path)
        assert sorted(call for share in found for call in share) == alone
        assert same == digests
        assert all(share == sorted(share) for share in found)
        if kind != "conversations":
            assert found == [alone[number::workers] for number in range(workers)]
