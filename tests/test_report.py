from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from benchsuite.report.how import how
from benchsuite.report.listing import matches, overview, run_table, selftest_table
from benchsuite.report.markdown import markdown
from benchsuite.report.progress import progress_block, progress_line
from benchsuite.report.render import words
from benchsuite.report.screen import age, error_line, screen, sentence, warning_lines
from benchsuite.report.units import dollars, duration, number, rounded, spread
from benchsuite.types import Estimate, Point, Progress, Run
from benchsuite.workload.load import load, workload_digest

FILES = Path(__file__).parent / "report"
NOW = datetime(2026, 11, 20, 11, tzinfo=UTC)
STORE = "~/.local/share/benchsuite"


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


@pytest.fixture
def run():
    read = msgspec.json.decode((FILES / "chat.json").read_bytes(), type=Run)
    return replaced(read, manifest=replaced(read.manifest, workload_digest=workload_digest(load("chat@1"))))


def only(run, row):
    """The same run with a single point."""
    manifest = replaced(run.manifest, points=(row.point,))
    return replaced(run, manifest=manifest, summaries=(row,), verdict=row.verdict)


@pytest.mark.parametrize("width", [100, 80])
def test_the_screen_is_what_it_was(run, width):
    expected = (FILES / f"screen-{width}.txt").read_text(encoding="utf-8")
    text = screen(run, store=STORE, width=width, now=NOW) + "\n"
    assert text == expected
    assert max(map(len, text.splitlines())) <= width


def test_markdown_is_what_it_was(run):
    assert markdown(run, now=NOW) == (FILES / "chat.md").read_text(encoding="utf-8")


def test_colour_adds_nothing_to_the_words(run):
    styled = screen(run, store=STORE, width=100, styled=True, now=NOW)
    plain = "".join(part.partition("m")[2] for part in ("m" + styled).split("\x1b["))
    squeezed = [line.rstrip() for line in plain.splitlines()]
    assert "\x1b[" in styled
    assert squeezed == screen(run, store=STORE, width=100, now=NOW).splitlines()


@pytest.mark.parametrize(
    ("value", "half", "shown"),
    [
        (21.04, 1.2, "21 ±1"),
        (6.912, 0.12, "6.9 ±0.1"),
        (6912.0, 83.0, "6,910 ±80"),
        (88.2, 0.0004, "88.2 ±0.1"),
        (0.6123, 0.31, "0.61 ±0.31"),
        (1640.0, 1100.0, "1,600 ±1,100"),
        (21.0, 240.0, "20 ±240"),
        (0.0312, 0.004, "0.03 ±0.01"),
        (0.0, 0.2, "0.00 ±0.20"),
    ],
)
def test_no_more_digits_than_the_interval_allows(value, half, shown):
    assert f"{rounded(value, half)} {spread(value, half)}" == shown


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        (Estimate(value=21.0, low=19.8, high=22.2, n=120, needs=6), "21 ms ±1"),
        (Estimate(value=6.9123, n=120, needs=6), "6.91 ms"),
        (Estimate(value=123_456.0, low=123_000.0, high=123_912.0, n=120, needs=6), "123 s ±1"),
        (Estimate(value=None, n=120, needs=368), "n<368"),
        (Estimate(value=None, n=0, needs=368), "–"),
        (None, "–"),
    ],
)
def test_a_cell_says_what_is_known(estimate, shown):
    assert number(estimate, unit="ms", interval=True) == shown


def test_digits_are_counted_in_what_is_shown():
    assert [rounded(value) for value in (9.9996, 10.0004, 99.96, 0.99996)] == ["10.0", "10.0", "100", "1.00"]


def test_prices_and_durations_in_running_text():
    amounts = (0.000_213, 0.0214, 0.9, 2.1, 9.999, 13.37, 140.0, 12_345.6, 0.0)
    assert [dollars(Estimate(value=value)) for value in amounts] == [
        *("$0.00021", "$0.021", "$0.90", "$2.10", "$10", "$13", "$140", "$12,300", "$0.00"),
    ]
    known = Estimate(value=2.1042, low=2.06, high=2.14, n=9)
    assert [dollars(known), dollars(known, interval=True)] == ["$2.10", "$2.10 ±0.04"]
    assert dollars(Estimate(value=0.0208, low=0.0204, high=0.0212), interval=True) == "$0.021 ±0.001"
    assert [duration(ms) for ms in (0.62, 21.04, 380.0, 12_300.0, 240_000.0)] == [
        *("0.62 ms", "21 ms", "0.38 s", "12 s"),
        "4.0 min",
    ]


def test_the_sentence_of_one_point_counts_requests(run):
    alone, eight, _ = run.summaries
    assert sentence(only(run, alone)) == (
        "Llama-3.1-8B-Instruct on vLLM 0.33.0: first token after 21 ms, 145 tokens/s for one user, "
        "120 of 120 requests ok (valid). $1.00 per 1,000 requests at 1 in flight; not at capacity."
    )
    assert "131 tokens/s for each user with 8 in flight, 238 of 240" in sentence(only(run, eight))
    unpriced = {name: rate for name, rate in alone.rates.items() if not name.startswith("cost")}
    assert sentence(only(run, replaced(alone, rates=unpriced))).endswith("requests ok (valid).")
    nothing = replaced(alone, outcomes={"refused": 120}, verdict="invalid")
    assert "none of 120 requests was answered (invalid)" in sentence(only(run, nothing))


def test_an_open_loop_leads_with_latency_from_due(run):
    row = run.summaries[0]
    late = row.metrics["ttft"].quantiles | {"p50": Estimate(value=71.0, low=69.0, high=73.0, n=120, needs=6)}
    row = replaced(
        row,
        point=replaced(row.point, rate=4.0, concurrency=None),
        metrics=row.metrics | {"ttft_from_due": replaced(row.metrics["ttft"], quantiles=late)},
    )
    assert "first token after 71 ms" in sentence(only(run, row))
    lines = screen(only(run, row), store=STORE, width=120, now=NOW).splitlines()
    at = next(i for i, line in enumerate(lines) if "from due" in line)
    assert lines[at].split()[:6] == ["asked", "from", "due", "p99", "from", "sent"]
    assert lines[at + 1].split()[:8] == ["4", "71", "ms", "±2", "n<368", "21", "ms", "6.9"]


@pytest.mark.parametrize("rate", [4.0, float("inf")])
def test_an_open_loop_keeps_its_main_columns_in_100(run, rate):
    row = run.summaries[2]
    row = replaced(
        row,
        point=replaced(row.point, rate=rate, concurrency=None),
        metrics=row.metrics | {"ttft_from_due": row.metrics["ttft"], "ttfo": row.metrics["ttft"]},
    )
    table = screen(only(run, row), store=STORE, width=100, now=NOW).split("\n\n")[2]
    for heading in ("from due", "TPOT p50", "per user", "total", "done", "goodput", "ok/n", "verdict"):
        assert heading in table, heading
    assert max(map(len, table.splitlines())) <= 100


def test_a_number_is_never_broken(run):
    table = screen(run, store=STORE, width=40, now=NOW).split("\n\n")[2]
    assert " 88 ms ±5 " in table and " 6,910 " in table and " 960/960 " in table


def test_a_ttfo_that_nobody_saw_says_how_to_get_one(run):
    row = run.summaries[0]
    ttfo = replaced(row.metrics["ttft"], n=0, quantiles={})
    row = replaced(row, metrics=row.metrics | {"ttfo": ttfo})
    lines = [line for _, line in warning_lines(only(run, row))]
    assert any("got past its reasoning → raise --output-tokens" in line for line in lines)


def test_a_run_interrupted_before_anything_says_so(run):
    empty = replaced(run, status="interrupted", summaries=(), verdict="invalid")
    assert "interrupted before anything was measured" in sentence(empty)


def test_columns_only_where_there_is_something_to_say(run):
    nobody = replaced(run, manifest=replaced(run.manifest, gpu="", price=None))
    assert "$/1k req" not in screen(nobody, store=STORE, width=120, now=NOW)
    row = run.summaries[0]
    priced = screen(only(run, row), store=STORE, width=120, now=NOW)
    assert "$/1k req" in priced and " $1.00 " in priced
    longer = replaced(row, point=replaced(row.point, index=1, prompt_tokens=1024))
    manifest = replaced(run.manifest, points=(row.point, longer.point))
    swept = screen(replaced(run, manifest=manifest, summaries=(row, longer)), store=STORE, width=120, now=NOW)
    assert "1,024  " in swept and " prompt " in swept


def test_the_same_warning_is_said_once_and_the_worst_first(run):
    alone, eight, many = run.summaries
    shared = replaced(eight, warnings=(*alone.warnings, *eight.warnings))
    invalid = replaced(many.warnings[0], level="invalid")
    lines = [
        line
        for _, line in warning_lines(
            replaced(run, summaries=(alone, shared, replaced(many, warnings=(invalid,))))
        )
    ]
    assert [line.partition(" ")[0] for line in lines] == ["invalid", "suspect", "note"]
    assert lines[2].startswith("note (1 in flight; 8 in flight): trials are shorter")
    assert lines[0].endswith(
        "→ the server may add a system prompt: ask for more --prompt-tokens, or take it out"
    )
    once = replaced(run.manifest, workload=replaced(run.manifest.workload, trials=1))
    assert [line for _, line in warning_lines(replaced(run, manifest=once)) if "--trials 3" in line]


def test_a_changed_workload_is_not_called_the_standard_one(run):
    changed = replaced(run, manifest=replaced(run.manifest, workload_digest="0" * 64))
    assert "\nchat@1: " in screen(run, store=STORE, width=100, now=NOW)
    assert "\nchat@1 (changed): " in screen(changed, store=STORE, width=100, now=NOW)


def test_the_machines_own_error_is_that_of_a_load_no_lighter(run):
    assert "at 64 streams: 0.030 ms p50, 0.60 ms p99 (selftest, 2 days ago)" in error_line(run.manifest, NOW)
    few = replaced(run.manifest, points=(replaced(run.manifest.points[0], concurrency=2),))
    assert "at 64 streams" in error_line(few, NOW)
    more = replaced(run.manifest, points=(replaced(run.manifest.points[0], concurrency=65),))
    assert "at 256 streams" in error_line(more, NOW)
    assert "benchsuite selftest" in error_line(replaced(run.manifest, selftest=None), NOW)
    assert age("2026-11-20T10:59:30+00:00", NOW) == "just now"
    assert age("2026-11-20T09:59:00+00:00", NOW) == "1 hour ago"


def test_how_explains_each_number(run):
    text = how(run, width=100, now=NOW)
    flat = " ".join(text.split())
    for claim in (
        "TTFT: first token − sent",
        " TTFT 120 22 ±1 21 ±1 ",
        "n<368",
        "Intervals (±) are 95 %, from: 3 trials.",
        "window: from the send that filled all slots to the last send",
        "8 in flight: 2 timeout (2 timeout_silence)",
        "stamped by the kernel",
        "send lag p50 0.05 ms, p99 n<368",
        "read together with later ones 0.21 %",
        "the busiest used 10.0 % of a core",
        "36 tokens for the chat template",
        "cached tokens unknown",
        "Connections were reused",
        f"Workload digest {run.manifest.workload_digest[:12]}",
        "2-3 232323232323",
        "--gpu H100 --seed 0 --nonce 5eed0123456789ab",
    ):
        assert claim in flat, claim
    assert flat.count("are 95 %, from: 3 trials. On average") == 3
    assert max(map(len, text.splitlines())) <= 100


def test_how_says_where_dollars_come_from(run):
    flat = " ".join(how(run, width=100, now=NOW).split())
    for claim in (
        "Price: 1 × H100 SXM at $3.99 per GPU and hour (RunPod secure, on demand, 2026-11-09).",
        "$/1k requests = 1000 × 1 GPU × $3.99 / (3600 × req/s)",
        "the cost at this load only",
        # 1000 × 3.99 / (3600 × 54) and 10^6 × 3.99 / (3600 × (54 × 512 + 6,912)), and over 6,912 alone.
        "$/1k requests: $0.021 ±0.001 (3 trials)",
        "$/M tokens: $0.032 ±0.001 (3 trials)",
        "$/M output tokens: $0.16 ±0.01 (3 trials)",
        "$/M output tokens: the same hour's dollars over output tokens alone",
    ):
        assert claim in flat, claim
    stated = replaced(run.manifest.price, gpu="", count=2, usd_per_gpu_hour=1.5, source="as stated", date="")
    flat = " ".join(how(replaced(run, manifest=replaced(run.manifest, price=stated)), width=200).split())
    assert "Price: 2 GPUs at $1.50 per GPU and hour (as stated), $3.00 an hour in all." in flat
    nobody = replaced(run, manifest=replaced(run.manifest, gpu="", price=None))
    assert "What it costs" not in how(nobody, width=100, now=NOW)


@pytest.mark.parametrize(
    ("gpu", "note"),
    [
        ("L4", "note: the price of L4 isn't known, so $ is unknown → --gpu-price USD"),
        ("H100-96GBx2", "isn't known, so $ is unknown → did you mean H100 SXM? Or --gpu-price USD"),
        ("H100", "note: this run was stored without the price of H100, so $ is unknown → measure again"),
    ],
)
def test_an_unknown_price_is_never_nothing(run, gpu, note):
    rates = {name: rate for name, rate in run.summaries[0].rates.items() if not name.startswith("cost")}
    manifest = replaced(run.manifest, gpu=gpu, price=None)
    run = replaced(only(run, replaced(run.summaries[0], rates=rates)), manifest=manifest)
    lines = screen(run, store=STORE, width=120, now=NOW).split("\n\n")
    assert lines[2].splitlines()[2].split()[-3] == "unknown" and "per 1,000 requests" not in lines[1]
    assert note in " ".join(lines[3].split())
    assert "so $ is unknown" in how(run, width=200, now=NOW)


def test_how_repeats_a_seed_and_nonce_only_once(run):
    typed = replaced(run.manifest, command="benchsuite run --seed=0 --nonce 5eed0123456789ab")
    assert how(replaced(run, manifest=typed), width=100, now=NOW).count("5eed0123456789ab") == 2


def test_how_says_what_a_recovered_or_user_stamped_run_lacks(run):
    recovered = tuple(replaced(trial, workers=()) for trial in run.manifest.trials)
    text = how(replaced(run, manifest=replaced(run.manifest, trials=recovered)), width=100, now=NOW)
    assert "wasn't kept (recovered run)" in text and "busiest" not in text
    worker = replaced(run.manifest.trials[0].workers[0], kernel_stamps=False, reuse=False)
    stamped = tuple(replaced(trial, workers=(worker,)) for trial in run.manifest.trials)
    closed = replaced(run.manifest, trials=stamped, workers=7)
    text = how(replaced(run, manifest=closed), width=200, now=NOW)
    assert "stamped by the client itself" in text and "opened as soon as its slot was free" in text
    assert "Client processes: 1," in text
    scheduled = replaced(closed, points=(replaced(closed.points[0], rate=2.0),))
    assert "opened before it was due" in how(replaced(run, manifest=scheduled), width=200, now=NOW)


def test_lists_filter_by_what_a_run_is_and_by_its_labels(run):
    row = overview(run)
    for where, fits in (
        ((("backend", "openai"), ("branch", "main")), True),
        ((("workload", "chat"),), True),
        ((("workload", "chat@1"),), True),
        ((("workload", "chat@2"),), False),
        ((("verdict", "valid"),), False),
        ((("branch", "other"),), False),
        ((("nothing", "main"),), False),
    ):
        assert matches(row, where) is fits, where
    twin = replaced(row, run_id=row.run_id[:12] + "z" + row.run_id[13:], labels={})
    lines = run_table([row, twin], width=120).splitlines()
    assert [line.split()[0] for line in lines] == ["run", row.run_id[:13], twin.run_id[:13]]
    assert "branch=main" in lines[1] and "6,910" in lines[1] and "21.0 ms" in lines[1]


def test_a_selftest_shows_microseconds(run):
    lines = selftest_table(run.manifest.selftest, width=100).splitlines()
    assert lines[3].split()[:6] == ["64", "streams", "0.030", "ms", "0.60", "ms"]


def test_progress_in_a_line():
    point = Point(index=1, prompt_tokens=64, output_tokens=32, concurrency=8)
    progress = Progress(
        point=point,
        points=3,
        phase="measure",
        trial=2,
        trials=3,
        elapsed_s=8.4,
        total_s=None,
        done=120,
        total=240,
        errors=1,
        in_flight=8,
        rate=14.21,
        ttft_ms=34.04,
        tokens_per_s=1020.4,
        lag_ms=0.112,
    )
    assert progress_line(progress) == (
        "[2/3] 8 in flight, trial 2 of 3: 120 of 240, 14.2 req/s, TTFT 34.0 ms, "
        "1,020 tok/s, 1 error, lag 0.11 ms"
    )
    timed = replaced(progress, total=None, total_s=30.0, phase="warm_up", ttft_ms=None)
    assert progress_block(timed).splitlines() == [
        f"[2/3] 8 in flight, warm-up {'━' * 6}{'╌' * 14}",
        "8 of 30 s, 14.2 req/s, 1,020 tok/s, 1 error, lag 0.11 ms",
    ]
    heavy = replaced(progress, done=9_000, total=12_000, rate=1400.0, ttft_ms=9_900.0, tokens_per_s=123_000.0)
    assert max(map(len, progress_block(heavy).splitlines())) <= 80


def test_wrapping_breaks_between_words_only():
    text = words(" note: see http://localhost:8000/a-very-long-path for more of it", width=30, indent=3)
    assert text.splitlines() == [
        " note: see",
        "   http://localhost:8000/a-very-long-path",
        "   for more of it",
    ]
