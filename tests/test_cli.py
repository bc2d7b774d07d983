import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchsuite.cli import main
from benchsuite.cli.root import COMMANDS
from benchsuite.conclude import owned
from benchsuite.driver import backends, load
from benchsuite.errors import InvalidMeasurement, StoreError, TargetError, UsageError
from benchsuite.store.runs import Store
from benchsuite.types import Record, Run

CHAT = Path(__file__).parent / "report" / "chat.json"

RECORD = Record(
    request_id="01k9-0-1-0",
    index=0,
    phase="measure",
    outcome="ok",
    error_kind="",
    http_status=200,
    due_ns=1_000,
    sent_ns=1_100,
    sent_all_ns=1_200,
    first_byte_ns=2_000,
    first_token_ns=2_000,
    first_output_ns=2_000,
    last_token_ns=5_000,
    end_ns=5_100,
    gaps_us=[1, 2],
    prompt_tokens=512,
    output_tokens=3,
    cached_tokens=None,
    reasoning_tokens=None,
    streamed_reasoning=False,
    finish_reason="length",
    reads=3,
    merged_events=0,
    reader_lag_us=5,
    user_stamps=False,
    reconnects=0,
    connect_us=90,
    tls_us=None,
    server_timings=None,
)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHSUITE_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("BENCHSUITE_TRACE", raising=False)
    monkeypatch.setattr("benchsuite.run.run", None)  # Nothing here measures.
    return Store(tmp_path / "store")


@pytest.fixture
def chat():
    return msgspec.json.decode(CHAT.read_bytes(), type=Run)


@pytest.fixture
def stored(store, chat):
    """One finished run with one record in each of two trials, warm-up included."""
    run_dir = store.create(chat.manifest)
    for trial in (0, 1):
        with run_dir.writer(0, trial) as writer:
            writer.write(RECORD)
    run_dir.finish(chat)
    return run_dir


@pytest.fixture
def partial(store, chat):
    return store.create(msgspec.structs.replace(chat.manifest, run_id="01kb" + "0" * 22))


# What each command calls, to raise in its stead: (words, what to replace).
INSIDE = {
    "run": (["run"], "benchsuite.run.run"),
    "dry run": (["run", "--dry-run"], "benchsuite.run.preview"),
    "capacity": (["capacity", "--slo", "chat"], "benchsuite.capacity.search.capacity"),
    "ab": (["ab", "local"], "benchsuite.ab.turns.in_turn"),
    "gate": (["gate", "local", "--against", "local"], "benchsuite.ab.turns.in_turn"),
    "gate noise": (["gate", "noise", "local"], "benchsuite.ab.turns.in_turn"),
    "gate of a stored run": (
        ["gate", "--run", "latest", "--limit", "ttft_p50<1s"],
        "benchsuite.gate.decide.concluded",
    ),
    "results": (["results"], "benchsuite.report.listing.run_table"),
    "show": (["show"], "benchsuite.report.screen.screen"),
    "compare": (["compare", "latest", "latest"], "benchsuite.compare.compare"),
    "plot": (["plot"], "benchsuite.report.figures.overview"),
    "trend": (["trend"], "benchsuite.trend.trend"),
    "batch list": (["batch", "list"], "benchsuite.store.runs.Store.runs"),
    "cost gpus": (["cost", "gpus"], "benchsuite.money.gpus.book"),
    "backends": (["backends"], "benchsuite.driver.backends"),
    "workloads": (["workloads"], "benchsuite.workload.load.shipped"),
    "workloads show": (["workloads", "show", "chat"], "benchsuite.workload.card.card"),
    "doctor": (["doctor"], "benchsuite.cli.doctor.findings"),
    "selftest": (["selftest"], "benchsuite.selftest.selftest"),
    "simulate": (["simulate"], "benchsuite.simulator.serve"),
    "store recover": (["store", "recover"], "benchsuite.conclude.recover"),
    "store check": (["store", "check"], "benchsuite.store.check.check"),
}
ESTIMATE = {
    **dict.fromkeys(("run", "dry run"), ("2 points × 3 trials, about 42 s, 9,593 tokens in, 4,797 out",)),
    "ab": (
        "A and B are the same target: what differs between them is noise",
        "4 to 12 pairs of trials, measured in turn: about 2 min to 5 min",
    ),
    "gate": ("4 to 12 pairs of trials, measured in turn: about 2 min to 5 min",),
    "gate noise": ("8 pairs of trials, measured in turn: about 4 min",),
    "capacity": (
        "a level sends 1,000 requests after a warm-up of 100 (3 for each of the server's slots, if that is "
        "more); fewer where it is clear early",
        "about 16 levels, 17,600 requests, 1.1 M tokens in, 0.56 M out, roughly 4 min to 4.6 h, by how many "
        "the server answers at once",
    ),
}
"""What a run says before anything that can go wrong."""
CODES = [
    (UsageError("say more"), 2),
    (TargetError("nobody there"), 2),
    (StoreError("too new"), 2),
    (InvalidMeasurement("too noisy"), 3),
    (RuntimeError("sk-secret"), 70),
    (KeyboardInterrupt(), 130),
    (BrokenPipeError(errno.EPIPE, "broken pipe"), 0),
]


def test_every_command_is_raised_in():
    assert {words[0] for words, _ in INSIDE.values()} == set(COMMANDS)


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda value: type(value).__name__)
def test_exit_codes(inside, error, code, monkeypatch, capsys, stored, partial):
    def raising(*_args, **_named):
        raise error

    words, place = INSIDE[inside]
    monkeypatch.setattr(place, raising)
    assert main(words) == code
    told = capsys.readouterr().err.strip().splitlines()
    if code == 0:
        assert told == [*ESTIMATE.get(inside, ())]
    elif code == 70:
        assert told[-1].startswith("benchsuite: internal error: RuntimeError in test_cli.py, line ")
        assert "sk-secret" not in str(told) and "BENCHSUITE_TRACE=1" in told[-1]
    elif code == 130:
        assert told[-1] == "benchsuite: interrupted"
    else:
        assert told == [*ESTIMATE.get(inside, ()), f"benchsuite: {error}"]


def test_a_trace_only_when_asked_for(monkeypatch, capsys):
    monkeypatch.setattr("benchsuite.driver.backends", lambda: 1 / 0)
    assert main(["backends"]) == 70
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("BENCHSUITE_TRACE", "1")
    assert main(["backends"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["shwo"], "did you mean show?"),
        (["zzzz"], "there are: run, capacity, ab, results"),
        (["run", "--concurency", "1"], "--concurrency"),
        (["run", "--concurrency", "many"], "8 or 1,8,64"),
        (["run", "--duration", "soon"], "30s, 500ms or 2m"),
        (["run", "--requests", "0"], "1 or more"),
        (["run", "--seed", "-1"], "0 or more"),
        (["run", "--concurrency", "0"], "1 or more, not 0"),
        (["run", "--rate", "-1", "--requests", "5"], '"inf", not -1'),
        (["run", "--duration", "0"], "--duration must be more than 0"),
        (["run", "--rate", "inf", "--duration", "5"], "add --requests N"),
        (["run", "--url", "http://127.0.0.1:abc/"], "looks like http://host:8000"),
        (["run", "--proxy", "http://proxy:abc"], "looks like http://host:8000"),
        (["run", "--url", "http://[::1/"], "looks like http://host:8000"),
        (["run", "--url", "http://h:1/v1?api-key=k"], "send it with --header-env"),
        (["run", "--url", "http://h:1/v1/chat/completions"], "give the base URL"),
        (["run", "--url=http://h:1/completions/"], "give the base URL"),
        (["run", "--requests", "5", "--duration", "5"], "either requests or seconds"),
        (["run", "--slo", "tfft=1ms"], "did you mean ttft"),
        (["run", "--workload", "chatt"], "did you mean chat@1"),
        (["run", "--timeout", "0"], "more than 0"),
        (["run", "--ca-cert", "/nowhere/ca.pem"], "there is no file /nowhere/ca.pem"),
        (["run", "--client-key", __file__], "--client-cert"),
        (["run", "--header", "X: a\x01b"], "HTTP doesn't allow"),
        (["run", "--header-env", "X-Key=BENCHSUITE_NOT_SET"], "BENCHSUITE_NOT_SET isn't set"),
        (["show", "--format", "parquet"], "-o"),
        (["show", "--with-warm-up"], "--format"),
        (["show", "--how", "--json"], "leave --format out"),
        (["simulate", "--error-500", "200%"], "10% or 0.1"),
        (["simulate", "--ttft-cv", "-1"], "0 or more"),
        (["backends", "vlm"], "There are: anthropic, azure"),
    ],
)
def test_a_wrong_command_line_is_told_in_a_line_with_what_to_do(words, hint, capsys, stored):
    assert main(words) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and hint in told[0]


def test_a_secret_on_the_command_line_is_not_repeated(capsys):
    assert main(["run", "--header", "Authorization Bearer sk-secret"]) == 2
    assert main(["run", "--header", "Authorization: sk-secret\x01!"]) == 2
    assert main(["run", "--header", "Bad name: sk-secret"]) == 2
    assert main(["run", "--url", "http://u:sk-secret@host:port"]) == 2
    assert main(["run", "--url", "http://host?api-key=sk-secret"]) == 2
    assert "sk-secret" not in "".join(capsys.readouterr())


def test_python_minus_m():
    words = [sys.executable, "-m", "benchsuite", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("benchsuite 0.")


def test_nobody_reading_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "benchsuite", "workloads"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


# ---------------------------------------------------------------- looking


def test_results_lists_runs_and_names_the_partial_ones(stored, partial, capsys):
    assert main(["results"]) == 0
    shown = capsys.readouterr().out
    assert stored.run_id[:10] in shown and "branch=main" in shown
    assert f"1 run was cut off ({partial.run_id}): `benchsuite store recover`" in shown
    with owned(partial):
        assert main(["results"]) == 0
        shown = capsys.readouterr().out
        assert f"1 run is being measured ({partial.run_id})." in shown and "recover" not in shown
        assert main(["show", "01kb"]) == 2
        assert "is being measured" in capsys.readouterr().err
    assert main(["results", "--where", "branch=other"]) == 0
    assert "no run like that" in capsys.readouterr().out
    assert main(["results", "--where", "backend=openai", "--json"]) == 0
    assert [row["run_id"] for row in msgspec.json.decode(capsys.readouterr().out)] == [stored.run_id]


def test_a_damaged_run_does_not_hide_the_others(store, stored, partial, capsys):
    (partial.path / "run.json").write_text("{")
    assert main(["results"]) == 0
    told = capsys.readouterr()
    assert stored.run_id[:10] in told.out and "is damaged" in told.err


def test_results_stops_at_its_limit(store, stored, chat, capsys):
    for i in range(3):
        manifest = msgspec.structs.replace(chat.manifest, run_id=f"01kc{i}" + "0" * 21)
        store.create(manifest).finish(msgspec.structs.replace(chat, manifest=manifest))
    assert main(["results", "--limit", "2", "--json"]) == 0
    ids = [row["run_id"][:5] for row in msgspec.json.decode(capsys.readouterr().out)]
    assert ids == ["01kc2", "01kc1"]


def test_show_in_every_form(stored, tmp_path, capsysbinary, chat):
    def shown(*words):
        assert main(["show", *words]) == 0
        return capsysbinary.readouterr().out

    assert b"Run 01k9\xe2\x80\xa60g1h kept in" in shown()
    assert b"show 01k9 --how" in b" ".join(shown("01k9").split())
    assert b"What the numbers mean" in shown("--how")
    assert b"| in flight |" in shown("--format", "md")
    assert msgspec.json.decode(shown("--json"), type=Run) == chat
    assert shown("--format", "csv").count(b"01k9-0-1-0") == 1
    assert shown("--format", "jsonl", "--with-warm-up").count(b"01k9-0-1-0") == 2
    file = tmp_path / "records.parquet"
    assert shown("latest", "--format", "parquet", "-o", str(file)) == b""
    assert file.read_bytes()[:4] == b"PAR1"
    assert shown("--format", "md", "-o", str(tmp_path / "run.md")) == b""
    assert "| in flight |" in (tmp_path / "run.md").read_text(encoding="utf-8")


def test_show_says_what_can_not_be_shown(partial, tmp_path, capsys):
    assert main(["show", "01kb"]) == 2
    assert "benchsuite store recover" in capsys.readouterr().err
    assert main(["show", "latest"]) == 2
    assert "benchsuite store recover" in capsys.readouterr().err
    assert main(["show", "--store", str(tmp_path / "elsewhere")]) == 2
    assert "benchsuite run" in capsys.readouterr().err


def test_show_to_a_place_that_can_not_be_written(stored, tmp_path, capsys):
    for form in ("md", "csv"):
        assert main(["show", "--format", form, "-o", str(tmp_path / "no" / "file")]) == 2
        assert "-o" in capsys.readouterr().err


# ---------------------------------------------------------------- setting up


def test_backends_and_workloads_say_what_there_is(capsys):
    assert main(["backends"]) == 0
    assert "llama.cpp" in capsys.readouterr().out
    assert main(["backends", "openai"]) == 0
    assert "no   benchsuite can start it" in capsys.readouterr().out
    assert main(["backends", "anthropic"]) == 0
    shown = capsys.readouterr().out
    assert "where to get one: https://platform.claude.com/settings/keys" in shown
    assert "  cache_ttl         how long cached prompts are kept: 5m or 1h [5m]" in shown
    assert "no   loads models" in shown and "endpoint  " not in shown
    assert main(["workloads"]) == 0
    assert "chat@1" in capsys.readouterr().out
    assert main(["workloads", "show", "chat"]) == 0
    assert "closed loop, 1, 8, 64 in flight" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(set(backends()) - {"http"}))
def test_a_backends_page_fits_and_has_words_for_each_option(name, capsys):
    assert main(["backends", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    for option in set(load(name).options) - {"endpoint"}:
        assert any(re.match(rf"  {option}  +\w", line) for line in lines), option


def test_doctor_fails_only_for_what_measuring_needs(monkeypatch, capsys, store):
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "benchsuite selftest" in shown and "problem" not in shown
    assert not store.path.exists()
    monkeypatch.setattr("benchsuite.driver.backends", dict)
    assert main(["doctor"]) == 2
    assert "problem  backends" in capsys.readouterr().out


def test_doctor_names_partial_runs_and_a_store_it_can_not_write(partial, tmp_path, capsys):
    assert main(["doctor"]) == 0
    assert "benchsuite store recover" in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--store", str(tmp_path / "file")]) == 2
    assert "problem  store" in capsys.readouterr().out


def test_selftest_shows_its_levels(monkeypatch, capsys, chat):
    asked = []
    selftest = chat.manifest.selftest
    monkeypatch.setattr(
        "benchsuite.selftest.selftest", lambda store, *, tell, quick: asked.append(quick) or selftest
    )
    assert main(["selftest", "--quick"]) == 0
    assert "64 streams" in capsys.readouterr().out and asked == [True]


def test_store_recover_says_what_it_kept(partial, monkeypatch, capsys, chat):
    monkeypatch.setattr("benchsuite.conclude.recover", lambda store, tell: [chat])
    assert main(["store", "recover"]) == 0
    assert "1,318 answered requests (suspect)" in capsys.readouterr().out


def test_store_check_counts_what_is_whole(stored, monkeypatch, capsys):
    monkeypatch.setattr("benchsuite.store.check.check", lambda run_dir: [])
    assert main(["store", "check"]) == 0
    assert "1 of 1 runs are whole" in capsys.readouterr().out
    monkeypatch.setattr("benchsuite.store.check.check", lambda run_dir: ["it is torn"])
    assert main(["store", "check", "latest"]) == 2
    assert f"{stored.run_id}: it is torn" in capsys.readouterr().out
