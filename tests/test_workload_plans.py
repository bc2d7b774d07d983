"""Same workload, seed, nonce and lengths: the same calls, byte for byte, in any process and any Python.

The table of digests is what makes the last part true: whatever Python runs this test has to come to them.
"""

import hashlib
import json
import os
import subprocess
import sys
from itertools import islice

import msgspec
import pytest

from benchsuite.driver import load as load_driver
from benchsuite.types import Lengths, Target
from benchsuite.workload.fit import words
from benchsuite.workload.load import folder_of, load, shipped
from benchsuite.workload.material import opened
from benchsuite.workload.plan import plan
from benchsuite.workload.points import points

LENGTHS = Lengths(words=words(), overhead=7, source="usage")
PLANNED = 40
NEEDS_A_FILE = {"trace@1"}


def calls(name, *, nonce="n", seed=0, phase="measure", trial=1, lengths=LENGTHS):
    """Bodies of the first requests of each point, as they are sent, with the instants they are due at."""
    workload, material = opened(load(name), folder_of(name))
    driver, target = load_driver("openai"), Target(backend="openai", url="http://h", model="m")
    for point in points(workload):
        requests = plan(
            workload,
            point,
            phase=phase,
            trial=trial,
            seed=seed,
            nonce=nonce,
            lengths=lengths,
            material=material,
        )
        for request in islice(requests, PLANNED):
            yield request, driver.encode(request, target).body


def digest(name, lengths=LENGTHS):
    found = hashlib.sha256()
    for request, body in calls(name, lengths=lengths):
        found.update(body)
        found.update(f"{request.index} {request.due_offset_ns} {request.after_ns}".encode())
    return found.hexdigest()[:16]


# Never mended to pass: another value means that a workload asks something else than it did. Before the first
# release only together with the fault in what was asked, told in CHANGELOG.md; after it, under a new version.
DIGESTS = {
    "1k-1k@1": "ae1bcfa87b6ea2b9",
    "1k-8k@1": "1f1f90f29ed478e1",
    "8k-1k@1": "42028ce2933cac66",
    "agent@1": "e9f7783e1a560dbd",
    "azure-chat@1": "2d9001425cc68df8",
    "azure-code@1": "b64056ab15aee741",
    "batching@1": "1da795bd9da75efe",
    "burst@1": "6326e4099c82103b",
    "caching@1": "1193cd7aaee1df8c",
    "chat@1": "6c260a2559bcf03d",
    "chat-multiturn@1": "7e6e790cc65316c1",
    "code-completion@1": "d572636b098a8e2a",
    "long-output@1": "f8b6e6bda877cdc7",
    "long-prompt@1": "bcdeda4f94e1444b",
    "model-size@1": "bcd9b9929d6e51b2",
    "mooncake-chat@1": "d2aceacdcbc0a02c",
    "offline@1": "b9cbf649134490c4",
    "quick@1": "a6733d7829b28f81",
    "rag@1": "201c5f5531c769d5",
    "reasoning@1": "ae93d826d06eb955",
    "streaming@1": "3d5b0a19c91eba9a",
    "summarise@1": "fcabb5e779ef4673",
    "task@1": "7949eea794a8f9cb",
    "tokens@1": "0352a2f6f0700f26",
}


@pytest.mark.parametrize("name", [name for name in shipped() if name not in NEEDS_A_FILE])
def test_a_workload_asks_what_it_has_always_asked(name):
    assert digest(name) == DIGESTS[name]


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_another_process_makes_the_same_calls(hash_seed):
    names = ["chat@1", "agent@1", "rag@1", "azure-code@1", "task@1", "burst@1"]
    code = "import json, tests.test_workload_plans as here; "
    code += f"print(json.dumps([here.digest(name) for name in {names}]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [DIGESTS[name] for name in names]


@pytest.mark.parametrize(
    "name", [name for name in shipped() if "cold" in load(name).cache and not load(name).dataset]
)
def test_no_prompt_of_a_cold_workload_begins_as_one_of_another_run_or_trial(name):
    """What a second run with the same seed sends begins otherwise, so it finds a cold cache."""
    seen = {}
    for nonce in "nm":
        for trial in (1, 2):
            for number, (request, _) in enumerate(calls(name, nonce=nonce, trial=trial)):
                first_of_many = request.conversation is not None and not request.turn
                if request.cache == "cold" or first_of_many:
                    # 60 bits of salt are seven of 512 words.
                    start = tuple(request.messages[0].content.split()[:7])
                    assert seen.setdefault(start, (nonce, trial, number)) == (nonce, trial, number)
    assert len(seen) > 4


def test_the_seed_and_the_lengths_decide():
    assert [body for _, body in calls("chat")] == [body for _, body in calls("chat@1")]
    assert [body for _, body in calls("chat", seed=1)] != [body for _, body in calls("chat")]
    lengths = msgspec.structs.replace(LENGTHS, overhead=9)
    assert [body for _, body in calls("chat", lengths=lengths)] != [body for _, body in calls("chat")]
