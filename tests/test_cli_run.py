import io
import math
import os
import shlex
import signal
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from rich.live import Live

from benchsuite.cli import main
from benchsuite.cli.run_options import ALIASES, typed
from benchsuite.cli.telling import STOPPING, Teller
from benchsuite.engine.trial import Interrupt
from benchsuite.report.screen import target_line
from benchsuite.store.runs import Store, new_run_id
from benchsuite.types import Connection, Point, Progress, Run, Slo, Stage, Timeouts

CHAT = Path(__file__).parent / "report" / "chat.json"


class Faked:
    """Stands for the library's `run`: remembers what it was asked, stores a run of a given kind."""

    def __init__(self, store):
        self.asked = []
        self.run = msgspec.json.decode(CHAT.read_bytes(), type=Run)
        self.store = store
        self.during = lambda tell, interrupt: None

    def __call__(self, options, store, *, tell, interrupt):
        self.asked.append(options)
        assert store.path == self.store.path
        tell(Stage(name="measure", text="vLLM is there"))
        self.during(tell, interrupt)
        manifest = msgspec.structs.replace(self.run.manifest, run_id=new_run_id())
        self.run = msgspec.structs.replace(self.run, manifest=manifest)
        store.create(manifest).finish(self.run)
        return self.run


@pytest.fixture
def faked(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHSUITE_STORE", str(tmp_path / "store"))
    fake = Faked(Store(tmp_path / "store"))
    monkeypatch.setattr("benchsuite.run.run", fake)
    monkeypatch.setattr("benchsuite.discovery.discover", tuple)
    return fake


def asked(fake, command):
    assert main(["run", *shlex.split(command)]) == 0
    return fake.asked.pop()


def test_alone_it_measures_the_local_engine_and_hints_at_more(faked, capsys):
    options = asked(faked, "")
    assert (options.backend, options.url, options.workload.name) == ("local", "", "quick")
    out = capsys.readouterr().out
    assert "verdict" in out and "benchsuite run --backend openai --url" in out.splitlines()[-1]


def test_every_option_arrives(faked, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TEAM", "t-1")
    (tmp_path / "ca.pem").write_text("")
    options = asked(
        faked,
        "--backend sim --url http://localhost:1 --model m --gpu H100x2 --gpu-price $2.50 "
        "--workload chat --concurrency 1,8 --prompt-tokens 16,32 --output-tokens 4 --duration 2m "
        "--trials 5 --slo ttft=500ms,tpot=50ms "
        "--cache warm --seed 7 --nonce n --warm-up 500ms --endpoint completions --workers 2 --threads 3 "
        "--option temperature=none --extra-body '{\"top_k\":1}' "
        "--header 'X-A: 1' --header-env X-Team=TEAM --api-key-env KEY "
        f"--ca-cert {tmp_path}/ca.pem --insecure --proxy http://u:p@proxy:1 --timeout 60 "
        "--connect-timeout 1 --first-byte-timeout 2 --silence-timeout 3 --label x=y --label z=1 "
        "--keep-text --user-stamps",
    )
    workload = options.workload
    assert (workload.concurrency, workload.prompt_tokens, workload.output_tokens) == ((1, 8), (16, 32), (4,))
    assert (workload.seconds, workload.requests, workload.trials) == (120.0, None, 5)
    assert (workload.cache, workload.warm_up_seconds) == (("warm",), 0.5)
    assert workload.slo == Slo(ttft_ms=500.0, tpot_ms=50.0)
    assert (options.backend, options.url, options.model, options.gpu) == (
        *("sim", "http://localhost:1", "m"),
        "H100x2",
    )
    assert options.gpu_price == 2.5
    assert (options.seed, options.nonce, options.workers, options.threads) == (7, "n", 2, 3)
    assert options.options == {"temperature": "none", "endpoint": "completions"}
    assert options.extra_body == {"top_k": 1}
    assert options.headers == {"X-A": "1", "X-Team": "t-1"} and options.key_variable == "KEY"
    assert options.connection == Connection(
        ca_cert=f"{tmp_path}/ca.pem",
        insecure=True,
        proxy="http://u:p@proxy:1",
        timeouts=Timeouts(connect_s=1.0, first_byte_s=2.0, silence_s=3.0, total_s=60.0),
    )
    assert options.labels == {"x": "y", "z": "1"}
    assert options.keep_text and not options.kernel_stamps


def test_a_rate_alone_is_an_open_loop_and_a_url_alone_an_openai_server(faked):
    options = asked(faked, "--url http://localhost:1 --rate 0.5,inf --arrivals constant --requests 9")
    assert options.backend == "openai"
    assert (options.workload.rate, options.workload.concurrency) == ((0.5, math.inf), ())
    assert (options.workload.arrivals, options.workload.requests) == ("constant", 9)


@pytest.mark.parametrize("alias", ALIASES)
def test_neighbours_names_are_understood(faked, alias, capsys):
    same = asked(faked, f"{ALIASES[alias]} 4 --requests 9" if "num" not in alias else "--requests 4")
    for form in (f"{alias} 4", f"{alias}=4"):
        found = asked(faked, form if "num" in alias else f"{form} --requests 9")
        assert found.workload == same.workload
    capsys.readouterr()
    assert main(["run", "--help"]) == 0
    assert alias not in capsys.readouterr().out


def test_the_command_is_kept_without_secrets_and_home(faked, monkeypatch):
    home = str(Path.home())
    words = [
        *("--url", "https://user:pw@api.example.com/v1?key=sk-1", "--header", "X-Key: sk-2"),
        *("--header=Authorization: sk-3", "--proxy=http://u:sk-4@proxy:1", "--yes"),
        *("--workload", f"{home}/my.toml"),
    ]
    shown = typed("run", words)
    assert shown == (
        "benchsuite run --url https://api.example.com/v1 --header 'X-Key: …' '--header=Authorization: …' "
        "'--proxy=…' --yes --workload ~/my.toml"
    )
    assert "secret-host" not in typed("run", ["--url=http://secret-host:1"])
    assert asked(faked, "--max-concurrency 2 --header 'A: sk-5'").command == (
        "benchsuite run --max-concurrency 2 --header 'A: …'"
    )


def test_the_command_is_kept_without_folders():
    home = str(Path.home())
    words = [
        *("vllm:/data/acme-deals/m", "--model", "/data/acme-deals/m", "--engine-python", "/srv/bob/run"),
        *(
            "--engine",
            "draft-model=/data/acme/d,tp=2",
            "--ca-cert=/etc/bank/ca.pem",
            "--workload",
            "./w/x.toml",
        ),
        *("--engine", f"t={home}/t.jinja", "--label", "a=b/c"),
    ]
    assert typed("run", words) == (
        "benchsuite run vllm:m --model m --engine-python run --engine draft-model=d,tp=2 --ca-cert=ca.pem "
        "--workload ./w/x.toml --engine 't=~/t.jinja' --label a=b/c"
    )


def test_a_failure_of_the_second_target_hides_nothing_of_the_first(faked, capsys):
    def during(tell, interrupt):
        if len(faked.asked) == 2:
            raise OSError("no space\nleft")

    faked.during = during
    assert main(["run", "--model", "a,b"]) == 70
    told = capsys.readouterr()
    assert "verdict" in told.out and told.err.splitlines()[-1].endswith("b: no space left")


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"verdict": "valid"}, 0), ({"verdict": "suspect"}, 0), ({"verdict": "invalid"}, 3)],
)
def test_the_verdict_decides_the_exit_code(faked, changes, code):
    faked.run = msgspec.structs.replace(faked.run, **changes)
    assert main(["run"]) == code


def test_json_is_the_stored_run_and_nothing_else_on_stdout(faked, capsys):
    points = (msgspec.structs.replace(faked.run.manifest.points[0], rate=math.inf),)
    manifest = msgspec.structs.replace(faked.run.manifest, points=points)
    faked.run = msgspec.structs.replace(faked.run, manifest=manifest)
    assert main(["run", "--json"]) == 0
    told = capsys.readouterr()
    assert msgspec.json.decode(told.out, type=Run, strict=False) == faked.run
    assert "vLLM is there" in told.err


def test_a_dry_run_measures_nothing(faked, monkeypatch, capsys):
    manifest = faked.run.manifest
    monkeypatch.setattr(
        "benchsuite.run.preview", lambda options, store, tell: (manifest, ("in fewer words", "POST /v1"))
    )
    assert main(["run", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{target_line(manifest)}\nchat@1") and "in fewer words" not in out
    assert "POST /v1" in out and manifest.nonce in out
    assert not faked.asked and not faked.store.path.exists()


# ---------------------------------------------------------------- asking, stopping, telling


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        ("--url https://api.example.com --concurrency 17", True),
        ("--url https://api.example.com --concurrency 16", False),
        ("--url https://api.example.com --rate 20 --duration 1", True),
        ("--url https://api.example.com --rate 20 --concurrency 4 --duration 1", False),
        ("--url https://api.example.com --rate inf --requests 17", True),
        ("--url http://localhost:1 --concurrency 64", False),
        ("--url http://127.0.0.1:1 --concurrency 64", False),
        ("--url http://10.0.0.8:1 --concurrency 64", False),
        ("--url http://gpu-box:1 --concurrency 64", False),
        ("--url http://8.8.8.8:1 --concurrency 64", True),
        ("--backend local --concurrency 64", False),
        ("--url https://api.example.com --concurrency 17 --yes", False),
    ],
)
def test_a_public_host_is_asked_about_once(faked, words, asks, capsys):
    assert main(["run", *words.split()]) == (2 if asks else 0)
    assert ("add --yes" in capsys.readouterr().err) is asks
    assert bool(faked.asked) is not asks


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_in_a_terminal_the_answer_decides(faked, monkeypatch, answer, code, capsys):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: answer)
    assert main(["run", "--url", "https://api.example.com", "--concurrency", "17"]) == code
    if code:
        assert "nothing was measured" in capsys.readouterr().err


def test_ctrl_c_drains_then_stops_then_gives_up(faked, capsys):
    levels = []

    def during(tell, interrupt):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            levels.append(interrupt.level)

    before = signal.getsignal(signal.SIGINT)
    faked.during = during
    faked.run = msgspec.structs.replace(faked.run, status="interrupted", verdict="invalid")
    assert main(["run"]) == 130
    told = capsys.readouterr()
    assert levels == [1, 2] and "is kept" in told.err and "verdict" in told.out
    assert signal.getsignal(signal.SIGINT) is before

    faked.during = lambda tell, interrupt: [os.kill(os.getpid(), signal.SIGINT) for _ in range(3)]
    assert main(["run"]) == 130
    told = capsys.readouterr()
    assert "benchsuite store recover" in told.err and told.out == ""


def test_ctrl_c_during_the_warm_up_keeps_no_promise(faked, capsys):
    faked.run = msgspec.structs.replace(faked.run, status="interrupted", verdict="invalid", summaries=())
    assert main(["run"]) == 130
    told = capsys.readouterr()
    last = "interrupted before anything was measured; repeat the command with --resume to go on"
    assert told.err.splitlines()[-1] == last and told.out == ""


def test_after_a_run_those_that_were_cut_off_are_named(faked, capsys):
    assert main(["run"]) == 0
    assert "recover" not in capsys.readouterr().out
    cut_off = faked.store.create(msgspec.structs.replace(faked.run.manifest, run_id=new_run_id()))
    assert main(["run"]) == 0
    assert f"1 run was cut off ({cut_off.run_id}): `benchsuite store recover`" in capsys.readouterr().out


def test_ctrl_c_before_anything_is_measured_ends_at_once(faked, monkeypatch, capsys):
    def starting(options, store, *, tell, interrupt):
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr("benchsuite.run.run", starting)
    assert main(["run"]) == 130
    assert "recover" not in capsys.readouterr().err


def progress(trial, done, phase="measure"):
    return Progress(
        point=Point(index=0, prompt_tokens=64, output_tokens=32, concurrency=8),
        points=1,
        phase=phase,
        trial=trial,
        trials=3,
        elapsed_s=1.0,
        total_s=None,
        done=done,
        total=100,
        errors=0,
        in_flight=8,
        rate=10.0,
        ttft_ms=None,
        tokens_per_s=None,
        lag_ms=None,
    )


def test_live_progress_fits_an_ordinary_terminal():
    told = io.StringIO()
    console = Console(file=told, width=80, force_terminal=True, color_system=None, _environ={})
    with Live(console=console, auto_refresh=False) as live:
        teller = Teller(Interrupt(), live)
        teller(Stage(name="measure", text="a server with a long name " * 5))
        teller(msgspec.structs.replace(progress(1, 50), ttft_ms=34.0, tokens_per_s=1020.0, lag_ms=0.1))
    for part in ("50 of 100", "10.0 req/s", "TTFT 34.0 ms", "1,020 tok/s", "0 errors", "lag 0.10 ms", "━"):
        assert part in told.getvalue()


def test_plain_progress_is_a_line_a_stage_a_trial_and_ten_seconds():
    lines, now, interrupt = [], [0.0], Interrupt()
    teller = Teller(interrupt, echo=lines.append, clock=lambda: now[0])
    for text in ("waiting 1 s", "waiting 2 s"):
        teller(Stage(name="ready", text=text))
    assert not teller.measuring
    teller(Stage(name="measure", text="measuring"))
    assert teller.measuring
    teller(progress(0, 3, phase="warm_up"))
    for second in range(12):
        now[0] = float(second)
        teller(progress(1, second))
    teller(progress(2, 0))
    interrupt.level = 1
    teller(progress(2, 50))
    teller(progress(2, 60))
    teller.finish_trial()
    teller.finish_trial()
    short = [line.split(",")[1].strip() if line.startswith("[") else line for line in lines]
    assert short == [
        *("waiting 1 s", "measuring"),
        *("trial 1 of 3: 10 of 100", "trial 1 of 3: 11 of 100"),
        *(STOPPING, "trial 2 of 3: 60 of 100"),
    ]
