"""Figures as files: the same bytes each time, the command, and a run that was really measured."""

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import msgspec
import numpy as np
import pytest

from benchsuite.cli import main
from benchsuite.cli.plot import KINDS
from benchsuite.engine.trial import Interrupt
from benchsuite.report.figures import FIGURES, distribution, image, latency, overview, samples_of, sheet
from benchsuite.report.figures.axes import plain, price
from benchsuite.report.figures.names import legend_names
from benchsuite.report.figures.paper import wrapped
from benchsuite.run import run as measure
from benchsuite.simulator import SimConfig, running
from benchsuite.stats.columns import NEEDED
from benchsuite.store.runs import Store
from benchsuite.target import Options
from benchsuite.types import Run
from benchsuite.workload.load import load

CHAT = Path(__file__).parent / "report" / "chat.json"
PRICED = "cost_per_1k_usd"


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


@pytest.fixture
def run():
    """Without a price."""
    read = msgspec.json.decode(CHAT.read_bytes(), type=Run)
    unpriced = [{name: each for name, each in row.rates.items() if name != PRICED} for row in read.summaries]
    rows = zip(read.summaries, unpriced, strict=True)
    return replaced(read, summaries=tuple(replaced(row, rates=rates) for row, rates in rows))


def other(run, **changes):
    return replaced(run, manifest=replaced(run.manifest, run_id="01kb0001" + "0" * 14 + "zzzz", **changes))


# ---------------------------------------------------------------- words


def test_text_is_broken_between_words():
    lines = wrapped("so many words that they can't stand in one line", 9.0, 1.5)
    assert len(lines) > 1 and " ".join(lines) == "so many words that they can't stand in one line"


def test_ticks_have_no_exponents_and_no_needless_zeros():
    assert [plain(value) for value in (0, 0.05, 12.0, 1500.0, 2_000_000.0)] == [
        "0",
        "0.05",
        "12",
        "1,500",
        "2,000,000",
    ]
    assert [price(value) for value in (0.5, 12.0, 0.125, 0.0)] == ["$0.50", "$12", "$0.125", "$0"]


def test_versions_and_quantizations_tell_runs_apart(run):
    newer = replaced(run.manifest.identity, version="0.34.0", details={"quantization": "fp8"})
    found = legend_names([run.manifest, other(run, identity=newer).manifest])
    assert found == ("vLLM 0.33.0 · bf16", "vLLM 0.34.0 · fp8")


# ---------------------------------------------------------------- bytes


def test_drawing_leaves_the_settings_of_matplotlib_alone(run):
    before = dict(mpl.rcParams)
    figure = overview(sheet([other(run, labels={"price": "$5_^", "名": "x"}), run]))
    image(figure, "png")
    assert dict(mpl.rcParams) == before


def test_the_users_own_settings_change_nothing(run):
    expected = image(latency(sheet([run])), "png")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.fonttype": "none"}):
        assert image(latency(sheet([run])), "png") == expected


STABLE = """
import hashlib, sys
from pathlib import Path
import msgspec
from benchsuite.report.figures import image, overview, sheet
from benchsuite.types import Run
run = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Run)
for format in ("png", "svg", "pdf"):
    data = image(overview(sheet([run])), format)
    begins = data[:4] in (b"\\x89PNG", b"<?xm", b"%PDF")
    print(hashlib.sha256(data).hexdigest(), begins, b"CreationDate" in data)
"""


def test_two_processes_make_the_same_bytes():
    def made(seed, epoch):
        done = subprocess.run(
            [sys.executable, "-c", STABLE, str(CHAT)],
            env={"PYTHONHASHSEED": seed, "HOME": str(Path.home()), "TZ": epoch},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    first = made("1", "UTC")
    assert first == made("2", "Asia/Tokyo")
    assert [line.split()[1:] for line in first] == [["True", "False"]] * 3


# ---------------------------------------------------------------- the command


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHSUITE_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return Store(tmp_path / "store")


@pytest.fixture
def stored(store, run):
    store.create(run.manifest).finish(run)
    return run


def test_plot_draws_the_latest_run_into_this_folder(stored, tmp_path, capsys):
    assert main(["plot"]) == 0
    assert capsys.readouterr().out == "benchsuite-01k9zq3m5t.png\n"
    assert (tmp_path / "benchsuite-01k9zq3m5t.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["-o", "x.svg"], {"x.svg": b"<?xm"}),
        (["-o", "x.PDF", "--kind", "latency"], {"x.PDF": b"%PDF"}),
        (["--format", "pdf", "--kind", "throughput"], {"benchsuite-01k9zq3m5t-throughput.pdf": b"%PDF"}),
        (
            ["-o", "made/here/", "--format", "svg"],
            {
                f"made/here/benchsuite-01k9zq3m5t-{kind}.svg": b"<?xm"
                for kind in ("latency", "distribution", "throughput")
            },
        ),
        (["-o", "made", "--kind", "latency"], {"made/benchsuite-01k9zq3m5t-latency.png": b"\x89PNG"}),
    ],
)
def test_where_it_is_written_and_in_which_format(stored, tmp_path, capsys, words, files):
    assert main(["plot", *words]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == list(files)
    assert {name: (tmp_path / name).read_bytes()[:4] for name in files} == files
    assert ("cost left out" in told.err) is (len(files) > 1)


def test_several_runs_are_named_in_the_file_but_the_same_only_once(store, stored, capsys):
    later = other(stored, labels={"branch": "fix"})
    store.create(later.manifest).finish(later)
    assert main(["plot", "01k9", "latest", "01k9"]) == 0
    assert capsys.readouterr().out == "benchsuite-01k9zq3m5t-01kb000100.png\n"


def test_an_invalid_run_is_drawn_without_complaint(store, stored, capsys):
    bad = replaced(other(stored), verdict="invalid")
    store.create(bad.manifest).finish(bad)
    assert main(["plot", "--format", "svg"]) == 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["nothing"], "no run in"),
        (["--kind", "cost"], "--gpu-price USD"),
        (["-o", "x.jpg"], ".png, .svg or .pdf"),
        (["-o", "x.svg", "--format", "png"], "leave --format out"),
        (["-o", "nowhere/x.png"], "name another place with -o"),
        (["--format", "gif"], "png"),
    ],
)
def test_what_can_not_be_drawn_is_told_in_a_line(stored, capsys, words, hint):
    assert main(["plot", *words]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and hint in told[0]


def test_the_commands_kinds_are_the_figures_there_are():
    assert ("all", *FIGURES) == KINDS


def test_plot_loads_no_pyplot():
    code = (
        "import sys; from benchsuite.cli import main; main(['plot', '--help']); print(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"matplotlib", "numpy"} & set(done.stdout.splitlines()[-1].split())
    code = "import sys, benchsuite.report.figures; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ---------------------------------------------------------------- a run that was measured


def test_a_measured_run_is_drawn_from_its_records(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "store")
    workload = replaced(
        load("quick"), concurrency=(1, 4), prompt_tokens=(40,), output_tokens=(8,), requests=12, seconds=None,
        trials=2,
    )  # fmt: skip
    with running(SimConfig(ttft_ms=20.0, itl_ms=2.0)) as simulator:
        options = Options(backend="sim", url=simulator.url, workload=workload)
        run = measure(options, store, tell=lambda _: None, interrupt=Interrupt())
    run_dir = store.select(run.manifest.run_id)
    found = {
        row.point.index: samples_of(run, row, run_dir.records(row.point.index, columns=NEEDED))
        for row in run.summaries
    }
    for row in run.summaries:
        samples = found[row.point.index]
        assert len(samples.ttft_ms) == row.outcomes["ok"] == 24 and len(samples.itl_ms) == 24 * 7
        for values, metric in ((samples.ttft_ms, "ttft"), (samples.itl_ms, "itl")):
            assert np.median(values) == pytest.approx(row.metrics[metric].quantiles["p50"].value)
            assert (np.diff(values) >= 0).all()
    figure = distribution(sheet([run], [found]))
    assert [each.get_text() for each in figure.legends[0].get_texts()] == [
        "1 in flight (n 24; 168 gaps)",
        "4 in flight (n 24; 168 gaps)",
    ]
    assert main(["plot", "--store", str(store.path), "-o", "x.svg"]) == 0
    assert b'id="ecdf-itl-1"' in (tmp_path / "x.svg").read_bytes()
    assert capsys.readouterr().out == "x.svg\n"
