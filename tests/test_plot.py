import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchsuite.errors import UsageError
from benchsuite.report.figures import (
    FIGURES,
    Samples,
    cost,
    distribution,
    drawable,
    latency,
    overview,
    sheet,
    throughput,
)
from benchsuite.report.figures.names import shared_lines
from benchsuite.types import Estimate, Run
from benchsuite.workload.load import load, workload_digest

CHAT = Path(__file__).parent / "report" / "chat.json"
PRICED = "cost_per_1k_usd"


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


@pytest.fixture
def run():
    read = msgspec.json.decode(CHAT.read_bytes(), type=Run)
    return replaced(read, manifest=replaced(read.manifest, workload_digest=workload_digest(load("chat@1"))))


def other(run, number=1, **changes):
    """The same numbers in another run."""
    return replaced(
        run, manifest=replaced(run.manifest, run_id=f"01kb{number:04d}" + "0" * 14 + "zzzz", **changes)
    )


def with_rows(run, *rows, **changes):
    manifest = replaced(run.manifest, points=tuple(row.point for row in rows))
    return replaced(run, manifest=manifest, summaries=rows, **changes)


def swept(run, **values):
    """Points of the first summary that differ in one field of their point."""
    ((name, each),) = values.items()
    row = run.summaries[0]
    rows = [
        replaced(row, point=replaced(row.point, index=i, **{name: value})) for i, value in enumerate(each)
    ]
    return with_rows(run, *rows)


def scheduled(run, *rates):
    row = run.summaries[0]
    late = replaced(row.metrics["ttft"], quantiles={"p50": Estimate(value=71.0, low=69.0, high=73.0, n=120)})
    rows = [
        replaced(
            row,
            point=replaced(row.point, index=i, concurrency=None, rate=rate),
            metrics=row.metrics | {"ttft_from_due": late},
        )
        for i, rate in enumerate(rates)
    ]
    return with_rows(run, *rows)


def costing(run, *dollars):
    """The run with a cost at each point; None: it isn't known there."""
    rows = []
    for row, value in zip(run.summaries, dollars, strict=True):
        rates = {name: each for name, each in row.rates.items() if name != PRICED}
        if value is not None:
            rates[PRICED] = Estimate(value=value, low=value * 0.9, high=value * 1.1, n=9, basis="3 trials")
        rows.append(replaced(row, rates=rates))
    return replaced(run, summaries=tuple(rows))


def drawn(figure, gid):
    """The one line with this id, as pairs."""
    lines = [line for axes in figure.axes for line in axes.lines if line.get_gid() == gid]
    assert len(lines) == 1, gid
    return list(zip(*(values.tolist() for values in lines[0].get_data()), strict=True))


def gids(figure):
    found = [each.get_gid() for axes in figure.axes for each in (*axes.lines, *axes.collections)]
    return [gid for gid in found if gid]


def collections(figure, gid):
    return [each for axes in figure.axes for each in axes.collections if each.get_gid() == gid]


def legend(figure):
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def text(figure):
    """What stands on the page outside of its panels."""
    return "\n".join(each.get_text() for each in figure.texts)


def ticks(axis):
    return [axis.get_major_formatter()(value, 0) for value in axis.get_majorticklocs()]


def quantiles(run, metric, name):
    return [row.metrics[metric].quantiles[name] for row in run.summaries]


# ---------------------------------------------------------------- latency


def test_latency_draws_the_summarys_numbers_against_the_load(run):
    figure = latency(sheet([run]))
    left, right = figure.axes
    for metric, name in (("ttft", "p50"), ("ttft", "p90"), ("tpot", "p50")):
        expected = [each.value for each in quantiles(run, metric, name)]
        assert drawn(figure, f"{metric}-{name}-0") == list(zip([1, 8, 64], expected, strict=True))
    assert [axes.get_xlabel() for axes in (left, right)] == ["requests in flight"] * 2
    assert (left.get_ylabel(), right.get_ylabel()) == ("TTFT, ms", "TPOT, ms")
    assert ticks(left.xaxis) == ["1", "8", "64"]
    assert legend(figure) == ["p50", "p90", "p99"]
    assert "120 to 960 answered requests a point" in text(figure)


def test_the_band_is_the_95_percent_interval(run):
    (band,) = collections(latency(sheet([run])), "ttft-p50-0-band")
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    for x, each in zip([1, 8, 64], quantiles(run, "ttft", "p50"), strict=True):
        assert {(x, each.low), (x, each.high)} <= corners
    bars = collections(latency(sheet([run])), "ttft-p90-0-interval")
    spans = [(low[1], high[1]) for bar in bars for low, high in bar.get_segments()]
    assert spans == [(each.low, each.high) for each in quantiles(run, "ttft", "p90")]
    assert "bands and bars: 95 % intervals (3 trials)" in text(latency(sheet([run])))


def test_a_quantile_without_enough_samples_is_not_drawn_and_said_so(run):
    figure = latency(sheet([run]))
    assert drawn(figure, "ttft-p99-0") == [(64, quantiles(run, "ttft", "p99")[2].value)]
    assert "p99 isn't drawn at 2 of 3 points: it takes 368 requests" in text(figure)


def test_an_open_loop_is_drawn_against_its_rate_from_due(run):
    figure = latency(sheet([scheduled(run, 2.0, 4.0, math.inf)]))
    assert drawn(figure, "ttft_from_due-p50-0") == [(2, 71), (4, 71), (6, 71)]
    axes = figure.axes[0]
    assert axes.get_xlabel() == "requests/s asked for" and axes.get_ylabel() == "TTFT from due, ms"
    assert ticks(axes.xaxis) == ["2", "4", "all at once"]


def test_a_sweep_over_lengths_has_the_length_on_its_axis(run):
    lengths = latency(sheet([swept(run, prompt_tokens=(128, 512, 2048))]))
    assert lengths.axes[0].get_xlabel() == "prompt tokens" and "against prompt length" in text(lengths)
    assert ticks(lengths.axes[0].xaxis) == ["128", "512", "2,048"]
    answers = latency(sheet([swept(run, output_tokens=(16, 32))]))
    assert answers.axes[0].get_xlabel() == "output tokens asked for"


def test_lengths_beside_a_load_make_a_line_each(run):
    row = run.summaries[0]
    rows = [
        replaced(row, point=replaced(row.point, index=i, concurrency=load, prompt_tokens=length))
        for i, (load, length) in enumerate([(1, 64), (2, 64), (1, 512), (2, 512)])
    ]
    figure = latency(sheet([with_rows(run, *rows)]))
    assert legend(figure)[:2] == ["64 in", "512 in"]
    assert [x for x, _ in drawn(figure, "ttft-p50-1")] == [1, 2]


def test_a_single_point_shows_its_quantiles_side_by_side(run):
    alone = with_rows(run, run.summaries[2])
    figure = latency(sheet([alone, other(alone, labels={"branch": "fix"})]))
    axes = figure.axes[0]
    assert ticks(axes.xaxis) == ["p50", "p90", "p99"] and axes.get_xlabel() == "quantile of requests"
    assert "Latency at 64 in flight" in text(figure)
    ((x, y),), ((other_x, _),) = drawn(figure, "ttft-p90-0"), drawn(figure, "ttft-p90-1")
    assert y == quantiles(run, "ttft", "p90")[2].value
    assert 0.5 < x < 1 < other_x < 1.5
    (bar,) = collections(figure, "ttft-p50-0-interval")
    each = quantiles(run, "ttft", "p50")[2]
    assert [tuple(end) for end in bar.get_segments()[0]] == [
        (pytest.approx(x - 1), each.low),
        (pytest.approx(x - 1), each.high),
    ]


def test_values_far_apart_get_a_logarithmic_scale_and_bands_below_0_end_at_its_edge(run):
    slow = run.summaries[2]
    wide = slow.metrics["ttft"].quantiles | {"p50": Estimate(value=9000.0, low=-200.0, high=18200.0, n=960)}
    slow = replaced(slow, metrics=slow.metrics | {"ttft": replaced(slow.metrics["ttft"], quantiles=wide)})
    figure = latency(sheet([with_rows(run, *run.summaries[:2], slow)]))
    axes = figure.axes[0]
    assert axes.get_yscale() == "log" and axes.get_ylim()[0] > 0
    (band,) = collections(figure, "ttft-p50-0-band")
    assert band.get_paths()[0].vertices[:, 1].min() == axes.get_ylim()[0]
    assert figure.axes[1].get_yscale() == "linear" and figure.axes[1].get_ylim()[0] == 0


# ---------------------------------------------------------------- what is doubtful


def test_suspect_points_are_hollow_and_invalid_ones_crossed_out(run):
    first, eight, many = run.summaries
    assert [row.verdict for row in run.summaries] == ["valid", "suspect", "suspect"]
    reason = replaced(many.warnings[0], level="invalid", message="the clock stepped.")
    bad = with_rows(
        run, first, eight, replaced(many, verdict="invalid", warnings=(reason,)), verdict="invalid"
    )
    figure = latency(sheet([bad]))
    faces = {}
    for line in figure.axes[0].lines:
        if (line.get_gid() or "").startswith("ttft-p50-0-"):
            faces[line.get_gid().rpartition("-")[2]] = (line.get_markerfacecolor(), *line.get_xdata())
    assert faces == {"valid": ("#0072B2", 1), "suspect": ("white", 8), "invalid": ("white", 64)}
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert {float(line.get_xdata()[0]) for line in crosses} == {64}
    assert "hollow: suspect at 8 in flight: 2 of 240 requests failed" in text(figure)
    assert "hollow and crossed out: invalid at 64 in flight: the clock stepped" in text(figure)


@pytest.mark.parametrize("draw", [latency, distribution, throughput, overview])
def test_an_invalid_run_is_stamped(run, draw):
    assert text(draw(sheet([run]))).startswith(("Latency", "Distribution", "Throughput"))
    assert text(draw(sheet([run, replaced(other(run), verdict="invalid")]))).startswith("INVALID: ")


# ---------------------------------------------------------------- throughput and cost


def test_the_frontier_sets_the_servers_rate_against_each_users(run):
    figure = throughput(sheet([run]))
    (axes,) = figure.axes
    users = [row.rates["tokens_per_s_per_user"] for row in run.summaries]
    totals = [row.rates["output_tokens_per_s"] for row in run.summaries]
    assert drawn(figure, "frontier-0") == [
        (user.value, total.value) for user, total in zip(users, totals, strict=True)
    ]
    across = collections(figure, "frontier-0-across")
    assert [bar.get_segments()[0][:, 0].tolist() for bar in across] == [
        [user.low, user.high] for user in users
    ]
    assert axes.get_xlabel() == "tokens/s for each user (1/TPOT p50)"
    assert axes.get_ylabel() == "output tokens/s in all"
    assert sorted(each.get_text() for each in axes.texts) == ["1", "64", "8"]
    assert "numbers beside dots: requests in flight" in text(figure)


def test_without_tokens_per_user_the_frontier_says_why(run):
    rows = [
        replaced(row, rates={"output_tokens_per_s": row.rates["output_tokens_per_s"]})
        for row in run.summaries
    ]
    (axes,) = throughput(sheet([with_rows(run, *rows)])).axes
    assert not axes.lines and "weren't streamed" in axes.texts[0].get_text()


def test_cost_is_drawn_only_where_it_is_known(run):
    known, partly = costing(run, 0.9, 0.2, 0.1), other(costing(run, 0.8, None, 0.3), labels={"branch": "b"})
    unknown = other(costing(run, None, None, None), 2, labels={"branch": "c"})
    figure = cost(sheet([known, partly, unknown]))
    assert drawn(figure, "cost-0") == [(1, 0.9), (8, 0.2), (64, 0.1)]
    assert drawn(figure, "cost-1") == [(1, 0.8), (64, 0.3)]
    assert "cost-2" not in gids(figure)
    assert "cost unknown, so not drawn: branch=b and branch=c" in text(figure)
    assert figure.axes[0].get_ylabel() == "$ per 1,000 requests"
    assert set(ticks(figure.axes[0].yaxis)[:3]) == {"$0", "$0.20", "$0.40"}
    (band,) = collections(figure, "cost-0-band")
    assert {0.9 * 0.9, 0.9 * 1.1} <= set(band.get_paths()[0].vertices[:, 1].tolist())


def test_without_a_price_cost_is_refused_and_the_overview_says_unknown(run):
    unpriced = costing(run, None, None, None)
    with pytest.raises(UsageError, match="--gpu-price USD"):
        cost(sheet([unpriced]))
    figure = overview(sheet([unpriced]))
    assert "cost unknown: no price" in text(figure)
    assert [axes.get_ylabel() for axes in figure.axes][3] == "TPOT, ms"
    priced = overview(sheet([costing(run, 0.9, 0.2, 0.1)]))
    assert [axes.get_ylabel() for axes in priced.axes] == [
        *("TTFT, ms", "gaps up to x, %", "output tokens/s in all", "$ per 1,000 requests")
    ]


# ---------------------------------------------------------------- distributions


def test_a_distribution_is_the_share_of_values_up_to_x(run):
    alone = with_rows(run, run.summaries[0])
    values = np.sort(np.array([30.0, 10.0, 20.0, 40.0]))
    gaps = np.linspace(0.0, 10.0, 50_000)
    figure = distribution(sheet([alone], [{0: Samples(ttft_ms=values, itl_ms=gaps)}]))
    assert drawn(figure, "ecdf-ttft-0") == [(10, 0), (10, 25), (20, 50), (30, 75), (40, 100)]
    curve = drawn(figure, "ecdf-itl-0")
    assert len(curve) < 2_000 and curve[-1] == (10, 100)
    assert all(
        share == pytest.approx(np.searchsorted(gaps, x, "right") / 500, abs=0.01) for x, share in curve[1:]
    )
    assert legend(figure) == ["n 4; 50,000 gaps"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["TTFT, ms", "ITL, ms"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["requests up to x, %", "gaps up to x, %"]


def test_too_many_distributions_are_cut_down_to_the_ends_and_it_is_said(run):
    samples = Samples(ttft_ms=np.array([1.0, 2.0]), itl_ms=np.array([1.0]))
    runs = [other(run, i, labels={"build": str(i)}) for i in range(3)]
    figure = distribution(sheet(runs, [dict.fromkeys(range(3), samples)] * 3))
    ends = {f"build={i} · {at} in flight (n 2; 1 gaps)" for i in range(3) for at in (1, 64)}
    assert set(legend(figure)) == ends and len(legend(figure)) == 6
    assert "the ends of each line: 6 of 9 points" in text(figure)


def test_without_records_a_panel_says_so(run):
    for axes in distribution(sheet([run])).axes:
        assert axes.texts[0].get_text() == "no records of answers are kept" and not axes.lines


# ---------------------------------------------------------------- several runs


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"gpu": "A100"}, ("H100", "A100")),
        ({"model": "org/Qwen3-8B"}, ("Llama-3.1-8B-Instruct", "Qwen3-8B")),
        ({"labels": {"branch": "fix"}}, ("branch=main", "branch=fix")),
        ({"engine": {"tp": "2"}}, ("01k9…0g1h", "tp=2")),
        ({"seed": 5}, ("01k9…0g1h", "01kb…zzzz")),
        ({"gpu": "A100", "labels": {"branch": "fix"}}, ("H100 · branch=main", "A100 · branch=fix")),
    ],
)
def test_the_legend_names_only_what_differs(run, changes, names):
    figure = latency(sheet([run, other(run, **changes)]))
    assert tuple(legend(figure)[:2]) == names


def test_the_title_says_what_all_share(run):
    same = shared_lines([run.manifest, other(run, labels={}).manifest])
    assert same == (
        "chat@1: about 512 in, 128 out, cold cache · 3 points × 3 trials of 25 s each",
        "Llama-3.1-8B-Instruct on vLLM 0.33.0 · bf16 · H100",
    )
    longer = replaced(run.manifest.workload, seconds=60.0)
    server = replaced(run.manifest.identity, server="SGLang")
    differing = other(run, workload=longer, identity=server, gpu="A100").manifest
    assert shared_lines([run.manifest, differing]) == ("chat@1", "Llama-3.1-8B-Instruct · bf16")


def test_overlaid_lines_have_markers_and_colours_of_their_own(run):
    runs = [other(run, i, labels={"build": str(i)}) for i in range(9)]
    handles = latency(sheet(runs)).legends[0].legend_handles
    assert len({(each.get_color(), each.get_marker()) for each in handles}) == 9
    assert len({each.get_marker() for each in handles}) == 8


def test_runs_without_a_common_axis_are_refused(run):
    with pytest.raises(UsageError, match=r"01k9…0g1h sets the requests in flight, run 01kb…zzzz their rate"):
        sheet([run, other(scheduled(run, 4.0))])
    with pytest.raises(UsageError, match="nothing to draw"):
        sheet([replaced(run, summaries=())])


def test_runs_of_one_load_each_share_an_axis_of_loads(run):
    figure = latency(sheet([with_rows(run, run.summaries[0]), other(with_rows(run, run.summaries[1]))]))
    assert ticks(figure.axes[0].xaxis) == ["1", "8"]


def test_no_two_labels_or_ticks_touch(run):
    many = swept(run, concurrency=(1, 2, 3, 4, 6, 8, 1000, 1001))
    figure = overview(sheet([many]))
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        for group in (axes.texts, axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [each.get_window_extent(renderer) for each in group if each.get_text()]
            assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert ticks(figure.axes[0].xaxis)[-1] == "1,001"


def test_everything_stays_on_the_page(run):
    long = {"note": "a label so long that it can't stand beside another one in a row of the legend " * 2}
    drawn = sheet([costing(run, 0.9, 0.2, 0.1), other(costing(run, 0.9, 0.2, 0.1), labels=long)])
    for kind in drawable(drawn):
        figure = FIGURES[kind](drawn)
        figure.canvas.draw()
        renderer, page = figure.canvas.get_renderer(), figure.bbox
        for each in (*figure.texts, *(axes.yaxis.label for axes in figure.axes)):
            box = each.get_window_extent(renderer)
            assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
