"""Bodies that are sent word for word: read, planned, sent, judged and compared, with none of them stored."""

import hashlib
import json
import os
import subprocess
import sys

import msgspec
import pytest

from benchsuite.cli import main
from benchsuite.differences import obstacles
from benchsuite.driver import load
from benchsuite.engine.trial import encoded
from benchsuite.errors import UsageError
from benchsuite.store.runs import Store
from benchsuite.testing import request
from benchsuite.types import Listed, Target, Workload
from benchsuite.workload import bodies as module
from benchsuite.workload.bodies import longest_tokens, read, replay
from benchsuite.workload.load import load as named
from benchsuite.workload.load import workload_digest
from benchsuite.workload.plan import Material, plan
from benchsuite.workload.points import points

CANARY = "canary-body-77b1"
QUICK = Workload(
    name="quick",
    version=1,
    description="d",
    prompt_tokens=(64,),
    output_tokens=(16,),
    concurrency=(2,),
    requests=5,
)


def written(folder, *lines, name="asked.jsonl"):
    path = folder / name
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    )
    return str(path)


def body(number, **more):
    return {
        "model": "m",
        "messages": [{"role": "user", "content": f"{CANARY} {number}"}],
        "stream": True,
        **more,
    }


def numbered(folder, count, **more):
    return read(written(folder, *(body(number, **more) for number in range(count))))


def sent(lines, workload=QUICK, *, phase="measure", trial=1, point=0, most=None):
    asked = replay(workload, lines.facts)
    planned = plan(
        asked,
        points(asked)[point],
        phase=phase,
        trial=trial,
        seed=0,
        nonce="n",
        lengths=None,
        material=Material(bodies=lines),
    )
    found = [one for _, one in zip(range(most or 10_000), planned, strict=False)]
    return [json.loads(one.body)["messages"][0]["content"].split()[-1] for one in found]


def test_a_file_is_read_line_by_line_and_its_text_stays_out_of_the_facts(tmp_path):
    first = b'  {"a": "\xc3\xbc",  "stream" : true }\r'
    path = written(tmp_path, first, b"", b'{"b": {"stream": true}}', b" ")
    lines = read(path)
    assert list(lines) == [first.strip(), b'{"b": {"stream": true}}']
    assert (lines[-1], lines[0:1]) == (b'{"b": {"stream": true}}', [first.strip()])
    assert lines.unstreamed == 1
    with pytest.raises(IndexError):
        lines[2]
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    assert msgspec.to_builtins(lines.facts) == {
        "name": "asked.jsonl",
        "number": 2,
        "sha256": digest,
        "longest_bytes": len(first.strip()),
    }


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"[1]", "line 3 isn't a JSON object"),
        (b'"text"', "line 3 isn't a JSON object"),
        (b'{"a": canary}', "line 3 isn't JSON"),
        (b'{"a": "canary', "line 3 isn't JSON"),
        (b'{"a": "\xff"}', "line 3 isn't UTF-8"),
    ],
)
def test_a_line_that_is_no_object_is_named_and_not_quoted(tmp_path, line, told):
    with pytest.raises(UsageError, match=told) as error:
        read(written(tmp_path, body(0), b"", line, body(1)))
    assert "canary" not in str(error.value)


def test_files_that_cannot_be_used(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="No such file"):
        read(str(tmp_path / "none.jsonl"))
    with pytest.raises(UsageError, match="holds no request body"):
        read(written(tmp_path, b"", b" "))
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    with pytest.raises(UsageError, match="1 GiB is the most"):
        read(written(tmp_path, body(0)))


def test_trials_go_on_where_the_last_one_ended_and_begin_again_after_the_last_line(tmp_path):
    lines = numbered(tmp_path, 12)
    assert sent(lines, trial=1) == ["0", "1", "2", "3", "4"]
    assert sent(lines, trial=2) == ["5", "6", "7", "8", "9"]
    assert sent(lines, trial=3) == ["10", "11", "0", "1", "2"]
    assert sent(lines, phase="warm_up", trial=0) == ["8", "9", "10", "11"]
    assert sent(lines, trial=1) == sent(lines, trial=1)


def test_by_time_each_trial_has_a_share_of_the_file(tmp_path):
    lines = numbered(tmp_path, 9)
    timed = msgspec.structs.replace(QUICK, requests=None, seconds=10.0)
    assert [sent(lines, timed, trial=trial, most=4) for trial in (1, 2, 3)] == [
        list("0123"),
        list("3456"),
        list("6780"),
    ]


@pytest.mark.parametrize(
    "load_of",
    [
        {"concurrency": (2,)},
        {"concurrency": (), "rate": (50.0,)},
        {"concurrency": (3,), "rate": (50.0,)},
        {"concurrency": (), "rate": (float("inf"),)},
    ],
)
def test_every_load_sends_them_in_order_with_the_arrivals_of_any_workload(tmp_path, load_of):
    lines = numbered(tmp_path, 3)
    workload = msgspec.structs.replace(QUICK, **load_of)
    asked = replay(workload, lines.facts)
    kept = {"phase": "measure", "trial": 2, "seed": 0, "nonce": "n"}
    from benchsuite.types import Lengths
    from benchsuite.workload.fit import words

    usual = plan(
        workload, points(workload)[0], **kept, lengths=Lengths(words=words(), overhead=0, source="usage")
    )
    replayed = plan(asked, points(asked)[0], **kept, lengths=None, material=Material(bodies=lines))
    ours, theirs = list(replayed), list(usual)
    assert [one.due_offset_ns for one in ours] == [one.due_offset_ns for one in theirs]
    assert [one.body for one in ours] == [lines[(5 + index) % 3] for index in range(5)]


@pytest.mark.parametrize(
    "backend", ["openai", "vllm", "sim", "llamacpp", "mlx", "transformers", "ollama", "tgi"]
)
def test_any_backend_sends_the_line_and_nothing_else(backend):
    line = b'{"x":  1}'
    target = Target(backend=backend, url="http://127.0.0.1:1", model="m", extra_body={"top_k": 1})
    asked = msgspec.structs.replace(request(""), body=line)
    call = encoded(load(backend), asked, target)
    assert (call.method, call.body) == ("POST", line)


def test_the_digest_is_that_of_the_file_and_its_name_does_not_matter(tmp_path):
    first = numbered(tmp_path, 3)
    same = read(written(tmp_path, *(body(number) for number in range(3)), name="other.jsonl"))
    other = numbered(tmp_path, 4)
    digests = [workload_digest(replay(QUICK, each.facts)) for each in (first, same, other)]
    assert digests[0] == digests[1] != digests[2]
    longer = msgspec.structs.replace(QUICK, prompt_tokens=(99,), output_tokens=(1,))
    assert workload_digest(replay(longer, first.facts)) == digests[0]
    louder = msgspec.structs.replace(QUICK, concurrency=(9,))
    assert workload_digest(replay(louder, first.facts)) != digests[0]


def test_of_the_workload_only_its_load_and_its_end_are_left(tmp_path):
    facts = numbered(tmp_path, 3).facts
    points = (Listed(hit_ratio=0.5, concurrency=2), Listed(hit_ratio=0.9, concurrency=2), Listed(rate=3.0))
    asked = replay(msgspec.structs.replace(named("caching"), listed=points), facts)
    assert (asked.hit_ratio, asked.groups, asked.cache) == ((), 1, ("cold",))
    assert asked.listed == (Listed(concurrency=2), Listed(rate=3.0))
    with pytest.raises(UsageError, match="a trace says itself what is sent"):
        replay(named("trace"), facts)


def test_context_for_an_engine_that_we_start_is_a_careful_guess(tmp_path):
    asked = replay(QUICK, numbered(tmp_path, 1, more="x" * 100_000).facts)
    prompt, output = longest_tokens(asked, None)
    assert prompt > 50_000 and output == 2048
    assert sum(longest_tokens(asked, 4096)) == 4096
    assert longest_tokens(QUICK, None) == (64, 16)


# ---------------------------------------------------------------- whole runs


def benchsuite(store, *words, expect=(0,)):
    env = {**os.environ, "BENCHSUITE_STORE": str(store)}
    done = subprocess.run(
        [sys.executable, "-m", "benchsuite", *words], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode in expect, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def simulator():
    from benchsuite.simulator import SimConfig, running

    with running(SimConfig(ttft_ms=5.0, itl_ms=1.0)) as found:
        yield found.url


def lines_of_lengths(folder):
    asked = (
        body(number, max_tokens=number + 2, stream_options={"include_usage": True}) for number in range(6)
    )
    return written(folder, *asked, body(6, max_tokens=8, stream=False))


def replayed(store, url, path, *words):
    asked = ("run", "--backend", "sim", "--url", url, "--bodies", path, "--concurrency", "2", *words)
    # A busy machine may make a run invalid, for reasons that aren't looked at here.
    done = benchsuite(store, *asked, expect=(0, 3))
    return Store(store).select("latest").run(), done


def test_a_file_is_replayed_in_order_and_nothing_of_it_is_stored(simulator, tmp_path):
    path = lines_of_lengths(tmp_path)
    run, done = replayed(tmp_path / "store", simulator, path, "--requests", "7", "--trials", "2")
    shown = benchsuite(tmp_path / "store", "show", "latest", "--format", "jsonl").stdout
    records = sorted(
        map(json.loads, shown.splitlines()), key=lambda record: (record["trial"], record["index"])
    )
    assert [record["outcome"] for record in records] == ["ok"] * 14
    assert [record["output_tokens"] for record in records] == [2, 3, 4, 5, 6, 7, 8] * 2
    codes = {each.code for row in run.summaries for each in row.warnings}
    assert not codes & {"output_tokens", "prompt_tokens", "prompt_cut", "cache_cold"}
    assert "sent_again" in codes
    assert run.manifest.lengths is None
    assert run.manifest.workload.bodies.number == 7
    assert "--bodies asked.jsonl" in run.manifest.command and str(tmp_path) not in run.manifest.command
    assert 'say "stream": true' in done.stderr and "1 of them don't" in done.stderr
    assert "from the first again: 14 requests" in done.stderr
    assert "7 bodies of asked.jsonl, word for word" in done.stdout
    told = benchsuite(tmp_path / "store", "show", "latest", "--how").stdout
    assert run.manifest.workload.bodies.sha256[:12] in " ".join(told.split())
    for file in (tmp_path / "store").rglob("*"):
        assert not file.is_file() or CANARY.encode() not in file.read_bytes(), file


def test_a_model_that_the_bodies_name_is_taken_and_another_model_is_told(simulator, tmp_path):
    path = written(tmp_path, body(0, model="theirs", max_tokens=2))
    run, done = replayed(tmp_path / "store", simulator, path, "--requests", "2", "--trials", "1")
    assert run.manifest.model == "theirs" and "the bodies name" not in done.stderr
    words = ("--requests", "2", "--trials", "1", "--model", "mine")
    run, done = replayed(tmp_path / "store", simulator, path, *words)
    assert run.manifest.model == "mine" and "the bodies name theirs" in done.stderr


def test_runs_of_the_same_bodies_compare_and_those_of_others_do_not(simulator, tmp_path):
    store, path = tmp_path / "store", lines_of_lengths(tmp_path)
    first, _ = replayed(store, simulator, path, "--requests", "6", "--trials", "1")
    again, _ = replayed(store, simulator, path, "--requests", "6", "--trials", "1")
    assert first.manifest.workload_digest == again.manifest.workload_digest
    assert [trial.plan_digest for trial in first.manifest.trials] == [
        trial.plan_digest for trial in again.manifest.trials
    ]
    assert obstacles(first.manifest, again.manifest) == ()
    other = written(tmp_path, body(0), name="other.jsonl")
    changed, _ = replayed(store, simulator, other, "--requests", "6", "--trials", "1")
    assert any("bodies of two files" in why for why in obstacles(first.manifest, changed.manifest))


@pytest.mark.parametrize(
    "load_of", [("--rate", "100"), ("--rate", "inf"), ("--rate", "100", "--duration", "200ms")]
)
def test_open_loops_replay_too(simulator, tmp_path, load_of):
    words = (
        "run",
        "--backend",
        "sim",
        "--url",
        simulator,
        "--bodies",
        lines_of_lengths(tmp_path),
        "--trials",
        "1",
    )
    count = () if "--duration" in load_of else ("--requests", "7")
    benchsuite(tmp_path / "store", *words, *load_of, *count, expect=(0, 3))
    (row,) = Store(tmp_path / "store").select("latest").run().summaries
    assert row.outcomes["ok"] == row.requests > 0


@pytest.mark.parametrize(
    "words",
    [
        ("--prompt-tokens", "8"),
        ("--output-tokens", "8"),
        ("--cache", "warm"),
        ("--reasoning", "low"),
        ("--extra-body", '{"a":1}'),
    ],
)
def test_options_that_bodies_decide_are_refused(simulator, tmp_path, words):
    asked = ("run", "--backend", "sim", "--url", simulator, "--bodies", lines_of_lengths(tmp_path))
    done = benchsuite(tmp_path / "store", *asked, *words, expect=(2,))
    assert f"leave {words[0]} out" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--hit-ratio", "0.5"),
        ("--hit-ratio", "0"),
        ("--groups", "2"),
        ("--shared-tokens", "5"),
        ("--zipf", "0"),
        ("--turns", "3"),
        ("--user-tokens", "20"),
        ("--think", "0"),
        ("--replies", "real"),
    ],
)
def test_what_prompts_share_and_how_they_go_on_is_refused_beside_bodies(tmp_path, capsys, words):
    nowhere = "http://127.0.0.1:9/v1"
    assert main(["run", "--url", nowhere, "--bodies", lines_of_lengths(tmp_path), *words]) == 2
    assert f"leave {words[0]} out" in capsys.readouterr().err


def test_a_dry_run_sends_nothing_and_says_what_would_be_sent(simulator, tmp_path):
    asked = (
        "run",
        "--backend",
        "sim",
        "--url",
        simulator,
        "--bodies",
        lines_of_lengths(tmp_path),
        "--dry-run",
    )
    assert "sent word for word" in benchsuite(tmp_path / "store", *asked).stdout
