"""The picture of a batch: when how much of it was done, and nothing that nobody saw."""

from pathlib import Path

import matplotlib as mpl
import msgspec
import pytest

from benchsuite.cli import main
from benchsuite.errors import UsageError
from benchsuite.report.figures import FIGURES, completion, drawable, image, overview, sheet
from benchsuite.store.runs import Store
from benchsuite.types import BatchInfo, BatchPoll, Estimate, Run

CHAT = Path(__file__).parent / "report" / "chat.json"
PRICED = "cost_per_1k_usd"


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


@pytest.fixture
def live():
    return msgspec.json.decode(CHAT.read_bytes(), type=Run)


def polls(*found, total=40):
    """Of (seconds, done) or (seconds, done, failed)."""
    return tuple(
        BatchPoll(seconds=seconds, done=done, failed=sum(failed), total=total)
        for seconds, done, *failed in found
    )


def batch(*found, turnaround_s=100.0, by_server=True, total=40):
    return BatchInfo(
        id="b",
        state="completed",
        turnaround_s=turnaround_s,
        by_server=by_server,
        polls=polls(*found, total=total),
    )


def batched(live, *batches, points=1, **changes):
    """The run as one of batches, as many trials a point as there are `batches`."""
    row = live.summaries[0]
    point = replaced(row.point, batch=True, concurrency=None)
    rates = {name: each for name, each in row.rates.items() if name != PRICED}
    rows = tuple(
        replaced(
            row,
            point=replaced(point, index=index, prompt_tokens=100 * (index + 1)),
            metrics={},
            rates=rates,
            verdict="valid",
            warnings=(),
            outcomes={"ok": 38, "http_error": 2},
        )
        for index in range(points)
    )
    info = live.manifest.trials[0]
    trials = tuple(
        replaced(info, point=index, trial=trial, batch=one)
        for index in range(points)
        for trial, one in enumerate(batches, 1)
    )
    manifest = replaced(live.manifest, points=tuple(row.point for row in rows), trials=trials, **changes)
    return replaced(live, manifest=manifest, summaries=rows, verdict="valid")


HALF = batch((0.1, 0), (40.0, 20), (90.0, 30, 1), (104.0, 38, 2))
SLOW = batch((0.1, 0), (60.0, 20), (130.0, 40), turnaround_s=120.0)


def lines(figure):
    """Each completion curve, by its id, as pairs."""
    return {
        line.get_gid(): list(zip(*(list(values) for values in line.get_data()), strict=True))
        for line in figure.axes[0].lines
        if (line.get_gid() or "").count("-") == 1
    }


def texts(figure):
    legend = [each.get_text() for keys in figure.legends for each in keys.get_texts()]
    return legend, " ".join(each.get_text() for each in figure.texts)


def test_each_trial_is_a_line_of_what_its_polls_found(live):
    figure = completion(sheet([batched(live, HALF, SLOW)]))
    assert lines(figure) == {
        # The last poll came later than the end, which the server tells.
        "completion-0": [(0, 0), (0.1, 0), (40, 0.5), (90, 0.75), (100, 0.95)],
        "completion-1": [(0, 0), (0.1, 0), (60, 0.5), (120, 1.0)],
    }
    assert {line.get_drawstyle() for line in figure.axes[0].lines if line.get_gid() in lines(figure)} == {
        "steps-post"
    }
    keys = figure.legends[0].get_lines()
    assert len({line.get_linestyle() for line in keys}) == 2, "equal lines that lie on one another are seen"
    legend, words = texts(figure)
    assert legend == ["trial 1", "trial 2"]
    assert "40 requests in 2 batches · 2 of them without a good answer" in words
    assert "by its server's clock" in words
    assert figure.axes[0].get_xlabel() == "time since creation, s"


def test_one_batch_needs_no_legend_and_ends_when_it_was_over(live):
    figure = completion(sheet([batched(live, batch((40.0, 20), (90.0, 38), by_server=False))]))
    assert lines(figure)["completion-0"][-1] == (100.0, 0.95)
    legend, words = texts(figure)
    assert legend == [] and "as we saw it" in words and "on the way" not in words


def test_points_and_runs_are_told_apart(live):
    one = batched(live, HALF, points=2)
    assert texts(completion(sheet([one])))[0] == ["100 prompt tokens", "200 prompt tokens"]
    other = batched(live, SLOW, run_id="01kb0001" + "0" * 14 + "zzzz", labels={"at": "night"})
    legend, _ = texts(completion(sheet([batched(live, HALF), other])))
    assert len(legend) == 2 and "at=night" in legend[1]


@pytest.mark.parametrize(("turnaround_s", "unit", "end"), [(600.0, "min", 10.0), (43_200.0, "h", 12.0)])
def test_long_batches_count_in_larger_units(live, turnaround_s, unit, end):
    figure = completion(sheet([batched(live, batch((1.0, 40), turnaround_s=turnaround_s))]))
    assert figure.axes[0].get_xlabel() == f"time since creation, {unit}"
    assert lines(figure)["completion-0"][-1] == (end, 1.0)


def test_what_was_not_counted_is_not_drawn(live):
    figure = completion(sheet([batched(live, batch((0.1, 0), (100.0, 40)))]))
    assert "a single step: nothing was counted on the way" in texts(figure)[1]
    silent = batch((50.0, None), total=None)
    figure = completion(sheet([batched(live, silent, HALF)]))
    assert list(lines(figure)) == ["completion-1"]
    assert "not drawn: 1 whose server didn't count" in texts(figure)[1]
    figure = completion(sheet([batched(live, silent)]))
    assert not lines(figure)
    assert [each.get_text() for each in figure.axes[0].texts] == ["the server didn't say how many were done"]


def test_doubtful_batches_look_doubtful(live):
    bad = batched(live, HALF)
    bad = replaced(bad, verdict="invalid", summaries=(replaced(bad.summaries[0], verdict="invalid"),))
    figure = completion(sheet([bad]))
    assert "INVALID: Completion of batches" in texts(figure)[1]
    (end,) = (line for line in figure.axes[0].lines if line.get_gid() == "completion-0-invalid")
    assert end.get_markerfacecolor() == "white"


def test_the_page_of_a_batch_is_its_completion_with_the_same_bytes_each_time(live):
    run = batched(live, HALF, SLOW)
    for ending in ("png", "svg", "pdf"):
        expected = image(completion(sheet([run])), ending)
        with mpl.rc_context({"font.size": 30, "axes.facecolor": "black"}):
            assert image(overview(sheet([run])), ending) == expected


def test_nothing_of_it_leaves_the_page(live):
    long = {"note": "a label so long that it can't stand beside another one in a row of the legend " * 2}
    other = batched(live, HALF, SLOW, run_id="01kb0001" + "0" * 14 + "zzzz", labels=long)
    figure = completion(sheet([batched(live, HALF, SLOW), other]))
    figure.canvas.draw()
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    for each in (*figure.texts, figure.axes[0].yaxis.label, figure.axes[0].xaxis.label):
        box = each.get_window_extent(renderer)
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1


@pytest.mark.parametrize("kind", ["latency", "distribution", "throughput"])
def test_a_batch_has_no_latencies(live, kind):
    with pytest.raises(UsageError, match="of batches, which have no latencies"):
        FIGURES[kind](sheet([batched(live, HALF)]))


def test_batches_and_live_runs_are_not_mixed(live):
    with pytest.raises(UsageError, match="of no batches"):
        completion(sheet([live]))
    other = batched(live, HALF, run_id="01kb0001" + "0" * 14 + "zzzz")
    with pytest.raises(UsageError, match=r"run 01kb…zzzz is of batches, run \S+ isn't"):
        sheet([live, other])


def test_only_what_can_be_drawn_is_offered(live):
    run = batched(live, HALF)
    assert drawable(sheet([run])) == ("completion",)
    cost = Estimate(value=1.0, n=9)
    row = run.summaries[0]
    priced = replaced(run, summaries=(replaced(row, rates=row.rates | {PRICED: cost}),))
    assert drawable(sheet([priced])) == ("completion", "cost")
    FIGURES["cost"](sheet([priced]))
    assert "completion" not in drawable(sheet([live]))


def test_the_command_draws_it(live, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BENCHSUITE_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    run = batched(live, HALF)
    Store(tmp_path / "store").create(run.manifest).finish(run)
    assert main(["plot", "-o", "one.svg"]) == 0
    assert b'id="completion-0"' in (tmp_path / "one.svg").read_bytes()
    assert main(["plot", "-o", "many/", "--format", "svg"]) == 0
    assert [path.name.partition("-completion")[1:] for path in (tmp_path / "many").iterdir()] == [
        ("-completion", ".svg")
    ]
    capsys.readouterr()
    assert main(["plot", "--kind", "throughput"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and "no latencies" in told[0]
