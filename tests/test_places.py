"""What tells the points of a run apart, on every screen that speaks of one of them."""

import csv
import io
from pathlib import Path

import msgspec
import pytest

from benchsuite.asked import Options
from benchsuite.compare import Comparison, Pair, Row, Side
from benchsuite.engine.trial import Interrupt
from benchsuite.report.compare import compared_csv, compared_screen
from benchsuite.report.figures import latency, sheet
from benchsuite.report.how import how
from benchsuite.report.lengths import asked_words
from benchsuite.report.markdown import markdown
from benchsuite.report.progress import progress_line
from benchsuite.report.screen import screen, sentence, warning_lines, workload_line
from benchsuite.report.slo import slo_lines
from benchsuite.report.stages import stage_title
from benchsuite.report.timing import split_lines
from benchsuite.report.turns import turn_title
from benchsuite.run import run as measured
from benchsuite.simulator import SimConfig, running
from benchsuite.stats.compare import effect
from benchsuite.stats.series import MEASURES
from benchsuite.store.runs import Store
from benchsuite.types import (
    Estimate,
    Limit,
    Listed,
    Point,
    Progress,
    Run,
    Share,
    Slo,
    Source,
    Spread,
    Warning,
)
from benchsuite.workload.load import load, overridden
from benchsuite.workload.places import in_full, place_of
from benchsuite.workload.points import points

CHAT = Path(__file__).parent / "report" / "chat.json"
COLD = Point(index=0, prompt_tokens=1024, output_tokens=16, concurrency=1)


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


def of(*changes):
    """Points that differ in the given fields alone."""
    return tuple(replaced(COLD, index=at, **each) for at, each in enumerate(changes))


def told(*changes):
    found = of(*changes)
    return [place_of(point, found) for point in found]


CACHES = of(
    {}, {"cache": "shared", "hit_ratio": 0.5}, {"cache": "shared", "hit_ratio": 0.9}, {"cache": "warm"}
)
NAMES = (
    "1 in flight, cold cache",
    "1 in flight, 50 % shared",
    "1 in flight, 90 % shared",
    "1 in flight, warm cache",
)
REACHED = ((0.0, None), (0.48, 0.49), (0.88, 0.89), (0.977, None))


@pytest.fixture
def run():
    """The study `caching`, with numbers of another run."""
    read = msgspec.json.decode(CHAT.read_bytes(), type=Run)
    row = read.summaries[0]
    told = (Warning(code="steady", level="suspect", message="It drifts", advice=""),)
    rows = tuple(
        replaced(
            row,
            point=point,
            means=row.means | {"hit_ratio": reached, "hit_ratio_asked": asked},
            warnings=told if point.cache == "warm" else (),
        )
        for point, (reached, asked) in zip(CACHES, REACHED, strict=True)
    )
    manifest = replaced(read.manifest, workload=load("caching"), points=CACHES)
    return replaced(read, manifest=manifest, summaries=rows)


def test_a_point_is_called_by_what_differs_and_by_no_more():
    assert told({}) == ["1 in flight"]
    assert told({}, {"concurrency": 8}) == ["1 in flight", "8 in flight"]
    assert told({}, {"prompt_tokens": 64}) == ["1 in flight, 1,024 in", "1 in flight, 64 in"]
    assert told({}, {"stream": False}) == ["1 in flight", "1 in flight, not streamed"]
    assert told({}, {"cache": "warm"}) == ["1 in flight, cold cache", "1 in flight, warm cache"]
    assert tuple(place_of(point, CACHES) for point in CACHES) == NAMES
    ratios = [{"cache": "shared", "hit_ratio": ratio} for ratio in (0.0, 1.0)]
    assert told(*ratios) == ["1 in flight, 0 % shared", "1 in flight, 100 % shared"]
    assert told({"cache": "shared"}, {}) == ["1 in flight, shared cache", "1 in flight, cold cache"]


def test_lengths_of_one_mean_are_told_apart_by_what_they_are_drawn_from():
    drawn = {"prompt_tokens": 30, "prompt_spread": Spread(kind="uniform", low=20, high=40)}
    fixed = {"prompt_tokens": 30}
    assert told(drawn, fixed) == ["1 in flight, 20 to 40 (uniform) in", "1 in flight, 30 in"]
    assert told(drawn, {"prompt_tokens": 64}) == ["1 in flight, 30 in", "1 in flight, 64 in"]
    answers = {"output_tokens": 30, "output_spread": Spread(kind="uniform", low=20, high=40)}
    assert told(answers, {"output_tokens": 30})[0] == "1 in flight, 20 to 40 (uniform) out"


def test_a_point_alone_is_told_with_its_cache_unless_it_is_cold():
    assert [in_full(point) for point in CACHES][::3] == [
        "1 in flight, 1,024 in, 16 out",
        "1 in flight, 1,024 in, 16 out, warm cache",
    ]
    assert in_full(CACHES[1]).endswith("16 out, 50 % shared")


def test_every_axis_that_a_workload_can_vary_has_a_name_of_its_own():
    base = load("caching")
    whole = overridden(
        replaced(base, listed=()),
        prompt_tokens=[64, Spread(kind="uniform", low=32, high=96)],
        output_tokens=[4, 8],
        concurrency=[1, 2],
        hit_ratio=[0.0, 0.5],
        stream=[True, False],
    )
    found = points(whole)
    assert len(found) == 32 == len({place_of(point, found) for point in found})


def test_the_table_names_the_cache_and_what_was_reached(run):
    text = screen(run, store="s", width=130)
    table = [line.split() for line in text.splitlines() if line.split()[:1] in ([["cold"], ["warm"]])]
    assert len(table) == 2
    assert " 50 % shared " in text and " 48.0/49.0 % " in text and " 97.7 % " in text and " 0.0 % " in text
    assert "| 97.7 % |" in markdown(run) and "| 50 % shared |" in markdown(run)
    assert "cold, shared and warm cache" in workload_line(run.manifest)
    told, _, cost = sentence(run).partition(" (")
    assert told.endswith(" for one user, cold cache")
    assert cost.endswith(" per 1,000 requests at 1 in flight, cold cache; not at capacity.")


@pytest.mark.parametrize("told", ["streams", "limits and money"])
def test_what_a_cache_held_stays_on_a_narrow_screen_where_the_cache_varies(run, told):
    row = run.summaries[1]
    goodput = {"goodput_per_s": row.rates["goodput_per_s"]}
    row = replaced(row, rates={name: rate for name, rate in row.rates.items() if name not in goodput})
    if told == "streams":
        modes, streams = ("shared", "warm"), (True, False)
        found = of(*({"cache": cache, "stream": stream} for cache in modes for stream in streams))
        rates, price = {}, None
    else:
        found = of(*({"cache": "shared", "hit_ratio": ratio} for ratio in (0.25, 0.9)))
        rates, price = goodput, run.manifest.price
    manifest = replaced(run.manifest, points=found, price=price, gpu="h100" if price else "")
    rows = tuple(replaced(row, point=point, rates=row.rates | rates) for point in found)
    many = replaced(run, summaries=rows, manifest=manifest)
    narrow = screen(many, store="s", width=100)
    assert " 48.0/49.0 % " in narrow and " TPOT " not in narrow
    assert " TPOT " in screen(many, store="s", width=160)


def test_what_a_cache_held_goes_before_the_pace_where_no_cache_is_compared(run):
    found = of(*({"cache": "shared", "stream": stream} for stream in (True, False)))
    rows = tuple(replaced(run.summaries[1], point=point) for point in found)
    manifest = replaced(run.manifest, points=found, price=None, gpu="")
    text = screen(replaced(run, summaries=rows, manifest=manifest), store="s", width=100)
    assert " TPOT " in text and " 48.0/49.0 % " not in text


def test_a_sentence_says_each_difference_once(run):
    row = run.summaries[0]
    fast = Estimate(value=999.0, n=9)
    for pace in ({"concurrency": 2}, {"concurrency": None, "rate": 20.0}):
        found = of(pace, pace | {"stream": False})
        rows = (
            replaced(row, point=found[0]),
            replaced(row, point=found[1], rates=row.rates | {"output_tokens_per_s": fast}),
        )
        both = replaced(run, summaries=rows, manifest=replaced(run.manifest, points=found))
        assert sentence(both).partition(" (")[0].count("not streamed") == 1


def test_a_run_without_a_share_asked_has_one_figure_a_point(run):
    rows = run.summaries[::3]
    warm = replaced(run, summaries=rows, manifest=replaced(run.manifest, points=(CACHES[0], CACHES[3])))
    text = screen(warm, store="s", width=130)
    assert " cached " in text and "/asked" not in text
    unknown = replaced(rows[1], means=rows[1].means | {"hit_ratio": None})
    assert " ? " in screen(replaced(warm, summaries=(rows[0], unknown)), store="s", width=130)


def test_what_the_server_says_of_its_time_names_the_cache(run):
    rows = tuple(
        replaced(row, metrics=row.metrics | {"server_queue": row.metrics["ttft"]}) for row in run.summaries
    )
    lines = list(split_lines(replaced(run, summaries=rows)))
    assert [line.partition(": Server's own split")[0] for line in lines] == [*NAMES]


def test_a_workload_of_several_lengths_is_told_with_each_of_them():
    listed = (Listed(prompt_tokens=64), Listed(prompt_tokens=128, output_tokens=4))
    workload = replaced(load("caching"), listed=listed)
    assert asked_words(workload).endswith("about 64 and 128 in, 16 and 4 out")


def test_reasons_sections_and_limits_name_the_cache(run):
    assert ("suspect", f"suspect ({NAMES[3]}): It drifts") in list(warning_lines(run))
    text = how(run, width=100)
    assert all(f"At {name}: " in text for name in NAMES)
    assert "cache hits 97.7 % of prompt tokens" in text
    limits = Slo(limits=(Limit(metric="ttft", ms=500.0, quantile=0.5),))
    workload = replaced(run.manifest.workload, slo=limits)
    said = "".join(slo_lines(replaced(run, manifest=replaced(run.manifest, workload=workload))))
    assert all(f"at {name}, " in said for name in NAMES)


def test_tables_of_stages_and_turns_name_the_cache():
    for at, cache in ((0, "cold cache"), (1, "50 % shared"), (3, "warm cache")):
        place = f"(1 in flight, 1,024 in, 16 out, {cache})"
        assert stage_title(CACHES[at], CACHES).startswith(f"By stage {place}, each request")
        assert turn_title(CACHES[at], CACHES) == f"By turn of the conversation {place}:"
    assert turn_title(COLD, (COLD,)) == "By turn of the conversation:"


def test_tables_of_stages_and_turns_tell_lengths_of_one_mean_and_streams_apart():
    drawn = Spread(kind="uniform", low=1000, high=1048)
    found = of({}, {"prompt_spread": drawn}, {"output_spread": drawn}, {"stream": False})
    for title in (stage_title, turn_title):
        assert len({title(point, found) for point in found}) == len(found)
        assert "(1 in flight, 1000 to 1048 (uniform) in, 16 out)" in title(found[1], found)
        assert "(1 in flight, not streamed, " in title(found[3], found)


def test_progress_names_the_point_as_the_screens_do():
    progress = Progress(
        **dict.fromkeys(("total_s", "total", "ttft_ms", "tokens_per_s", "lag_ms")),
        **dict.fromkeys(("elapsed_s", "rate"), 1.0),
        **dict.fromkeys(("done", "errors", "in_flight"), 0),
        point=CACHES[3],
        points=4,
        phase="measure",
        trial=1,
        trials=3,
        place=NAMES[3],
    )
    assert progress_line(progress).startswith(f"[4/4] {NAMES[3]}, trial 1 of 3: ")


def test_a_run_tells_its_progress_by_the_places_of_its_points(tmp_path):
    """By the simulator, whose answers take long enough for several reports a trial."""
    workload = overridden(
        replaced(load("caching"), listed=()),
        **dict(prompt_tokens=40, output_tokens=4, concurrency=1, requests=8, trials=1),
        cache=("cold", "warm"),
    )
    told = set()

    def tell(one):
        if isinstance(one, Progress):
            told.add((one.point.index, one.place))

    with running(SimConfig(ttft_ms=60.0, itl_ms=1.0)) as simulator:
        options = Options(backend="openai", url=simulator.url, workload=workload)
        done = measured(options, Store(tmp_path), tell=tell, interrupt=Interrupt())
    assert done.manifest.points == tuple(row.point for row in done.summaries)
    assert told == {(0, "1 in flight, cold cache"), (1, "1 in flight, warm cache")}


def test_a_plot_has_a_line_for_each_cache(run):
    figure = latency(sheet([run]))
    names = [text.get_text() for each in figure.legends for text in each.get_texts()]
    assert names[:4] == ["cold cache", "50 % shared", "90 % shared", "warm cache"]


def test_a_plot_tells_drawn_lengths_from_fixed_ones(run):
    row = run.summaries[0]
    found = of({}, {"prompt_spread": Spread(kind="uniform", low=1000, high=1048)}, {"stream": False})
    rows = tuple(replaced(row, point=point) for point in found)
    lines = sheet([replaced(run, summaries=rows, manifest=replaced(run.manifest, points=found))]).lines
    assert [line.name for line in lines] == [
        "prompts of one length · streamed",
        "1000 to 1048 (uniform) in · streamed",
        "prompts of one length · not streamed",
    ]


def compared():
    measure = MEASURES["ttft_p50"]
    one = effect((10.0, 11.0, 10.5), (10.0, 11.0, 10.5), better=measure.better, margin=0.05)
    row = Row(
        metric="ttft_p50",
        unit=measure.unit,
        better=measure.better,
        base=10.5,
        other=10.5,
        trials=(3, 3),
        effect=one,
        note="",
    )
    sides = [
        Side(
            run_id=f"01k9zq3m5t8x2b7c4d6e8f0g{at}h",
            started="2026-11-20T10:00:00+00:00",
            status="finished",
            verdict="valid",
            backend="openai",
            server="s",
            model="m",
            gpu="",
            reasons=(),
        )
        for at in (1, 2)
    ]
    return Comparison(
        base=sides[0],
        other=sides[1],
        workload="caching@1",
        workload_digest="d",
        digest_equal=True,
        same="tokens",
        cache="cold",
        metrics_version=1,
        margin=0.05,
        differs_in=(),
        asked_differently=(),
        only_base=(),
        only_other=(),
        points=tuple(Pair(point=point, rows=(row,)) for point in CACHES),
    )


def test_a_comparison_has_a_section_for_each_cache():
    text = compared_screen([compared()], width=100)
    assert [line.strip() for line in text.splitlines() if line.startswith(" At ")] == [
        f"At {name}" for name in NAMES
    ]
    rows = list(csv.DictReader(io.StringIO(compared_csv([compared()]))))
    assert [(row["cache"], row["hit_ratio"], row["stream"]) for row in rows] == [
        ("cold", "", "True"),
        ("shared", "0.5", "True"),
        ("shared", "0.9", "True"),
        ("warm", "", "True"),
    ]


def test_a_header_keeps_what_is_asked_whatever_prompts_are_made_of(run):
    mixed = (Share(model="a", share=1.0), Share(model="b", share=3.0))
    trace = Source(file="t.csv", format="azure", number=9, used=5, seconds=2.0)
    workload = replaced(
        load("trace"), trace=trace, mix=mixed, reasoning="low", json_schema="{}", requests=5, trials=1
    )
    said = workload_line(replaced(run.manifest, workload=workload))
    assert "a 25 %, b 75 %" in said and "reasoning low" in said and "JSON of a schema" in said


def test_a_trace_in_stages_ends_with_them(run):
    trace = Source(file="t.csv", format="azure", number=9, used=9, seconds=2.0)
    workload = overridden(load("trace"), stages=[{"seconds": 5, "rate": [1, 10]}], trials=1)
    said = workload_line(replaced(run.manifest, workload=replaced(workload, trace=trace)))
    assert said.endswith("1 trial of 5 s each") and "9 requests each" not in said
