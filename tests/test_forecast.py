"""What a run is expected to take: time, tokens and dollars, before it starts and while it goes on."""

import msgspec
import pytest

from benchsuite.asked import Options
from benchsuite.cli import main
from benchsuite.engine.trial import Interrupt
from benchsuite.forecast import Remaining, forecast, in_words
from benchsuite.run import run
from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.store.runs import Store
from benchsuite.types import LoadStage, Progress, Source, Workload
from benchsuite.workload.draw import Material, Row
from benchsuite.workload.order import blocks, steps
from benchsuite.workload.points import points

WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(100,),
    output_tokens=(20,),
    concurrency=(1, 4),
    requests=40,
    trials=3,
)


def of(workload=WORKLOAD, **changes):
    fields = {name: changes.pop(name) for name in list(changes) if name in Workload.__struct_fields__}
    return Options(backend="sim", workload=msgspec.structs.replace(workload, **fields), **changes)


def test_tokens_are_those_of_all_requests_with_their_warm_ups():
    found = forecast(of())
    # Warm-ups: 2 and 8 requests, half of them again in each of two further blocks.
    requests = 2 * 3 * 40 + (2 + 2 * 1) + (8 + 2 * 4)
    # A block may begin with the point that the one before ended with: no other came in between.
    spared = 100 * requests - found.prompt_tokens
    assert spared in {0, 100, 400, 500, 800} and found.output_tokens == found.prompt_tokens / 5
    assert forecast(of(order="listed")).prompt_tokens == 100 * (2 * 3 * 40 + 2 + 8)
    assert (found.points, found.trials, found.guessed, found.usd) == (2, 3, True, None)


def test_what_the_server_gets_is_what_was_forecast(tmp_path):
    truth = tmp_path / "truth.jsonl"
    with running(SimConfig(ttft_ms=5.0, itl_ms=1.0, truth_path=str(truth))) as simulator:
        options = of(requests=10, trials=2, url=simulator.url)
        found = run(options, Store(tmp_path / "store"), tell=lambda told: None, interrupt=Interrupt())
    mine = [entry for entry in read_truth(truth) if entry.request_id.startswith(found.manifest.run_id)]
    expected = forecast(options)
    assert sum(entry.prompt_tokens for entry in mine) == pytest.approx(expected.prompt_tokens, rel=0.02)
    assert sum(entry.output_tokens for entry in mine) == expected.output_tokens


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"requests": None, "seconds": 30.0}, 2 * 3 * 30.0),
        ({"concurrency": (), "rate": (2.0, 8.0), "requests": 80}, 3 * (40.0 + 10.0)),
        (
            {"concurrency": (), "requests": None, "stages": (LoadStage(seconds=60.0, rate=(1.0, 5.0)),)},
            3 * 60.0,
        ),
    ],
)
def test_the_time_is_known_where_the_workload_decides_it(fields, seconds):
    found = forecast(of(**fields))
    assert not found.guessed
    assert seconds < found.seconds < 1.35 * seconds


def test_dollars_follow_from_tokens_or_from_hours():
    tokens = forecast(of(token_price=(1.0, 10.0)))
    assert tokens.usd == pytest.approx((tokens.prompt_tokens * 1 + tokens.output_tokens * 10) / 1e6)
    assert tokens.tokens_usd == tokens.usd
    hours = forecast(of(gpu_price=3.6, gpu="H100x2", requests=None, seconds=600.0))
    assert hours.usd == pytest.approx(2 * 3.6 * hours.seconds / 3600)
    assert hours.tokens_usd == 0
    both = tokens.plus(hours)
    assert both.usd == pytest.approx(tokens.usd + hours.usd)
    assert tokens.times(0.25).usd == pytest.approx(tokens.usd / 4)
    assert tokens.plus(forecast(of())).usd is None


def test_it_is_told_in_a_line():
    assert in_words(forecast(of(token_price=(1.0, 10.0)))) == (
        "2 points × 3 trials, roughly 2 min, 25,900 tokens in, 5,180 out, about $0.08"
    )
    large = in_words(forecast(of(prompt_tokens=(8000,), requests=None, seconds=2500.0)))
    assert ", about 4.17 h, " in large and " M tokens in, " in large


def test_the_first_warm_up_says_how_long_the_rest_takes():
    found = points(WORKLOAD)
    plan = tuple(steps(blocks((0, 1), 3, order="blocks", seed=0), trials=3))
    remaining = Remaining(WORKLOAD, found, plan, Material())
    first = plan[0]
    remaining.past(first)
    # An answer takes 0.1 s, where 0.7 s were guessed: the other point is taken to be as fast.
    remaining.learn(first.point, 0.1)
    trials = 3 * (40 * 0.1 + 0.5) + 3 * (10 * 0.1 + 0.5)
    assert trials < remaining.total_s() < 1.4 * trials
    trial = plan[1]
    told = Progress(
        point=found[trial.point],
        points=2,
        phase="measure",
        trial=1,
        trials=3,
        elapsed_s=0.5,
        total_s=None,
        done=20,
        total=40,
        errors=0,
        in_flight=1,
        rate=10.0,
        ttft_ms=None,
        tokens_per_s=None,
        lag_ms=None,
    )
    before = remaining.total_s()
    left = remaining.left_s(trial, told)
    remaining.past(trial)
    assert left == pytest.approx(0.5 + remaining.total_s())
    assert left < before
    for step in plan[2:]:
        remaining.past(step)
    assert remaining.total_s() == 0


HOSTED = [
    "run",
    "--backend",
    "openai",
    "--url",
    "https://api.example.com",
    "--model",
    "m",
    "--concurrency",
    "2",
]
DEAR = [*HOSTED, "--token-price", "100,100", "--requests", "1000"]


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Options that came as far as the library; nobody is contacted."""
    found = []

    def run(options, store, *, tell, interrupt):
        found.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr("benchsuite.run.run", run)
    monkeypatch.setenv("BENCHSUITE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    return found


def ended(*words):
    return main(list(words))


def test_more_than_a_dollar_at_a_hosted_api_needs_a_yes(measured, capsys):
    assert ended(*DEAR) == 2
    said = capsys.readouterr().err
    assert "of a hosted API's tokens; add --yes" in said and "about $" in said
    assert not measured
    ended(*DEAR, "--yes")
    assert len(measured) == 1
    ended(*HOSTED, "--token-price", "0.1,0.1", "--requests", "10")
    assert len(measured) == 2


def test_a_trace_sent_all_at_once_to_a_public_host_needs_a_yes(measured, tmp_path, capsys):
    rows = "".join(f"{at},10,3\n" for at in range(99))
    trace = tmp_path / "t.csv"
    trace.write_text("timestamp,input_length,output_length\n" + rows, encoding="utf-8")
    words = [*HOSTED[:-2], "--trace", str(trace), "--rate", "inf"]
    assert ended(*words) == 2
    assert "up to 99 requests would be in flight" in capsys.readouterr().err
    assert not measured


def test_hours_are_told_but_need_no_yes_without_a_terminal(measured, capsys):
    ended("run", "--backend", "sim", "--url", "http://localhost:1", "--duration", "2h")
    assert " h, " in capsys.readouterr().err
    assert len(measured) == 1


def traced(**changes):
    """A trace of nine rows, half a minute long, whose lengths alone are taken."""
    rows = tuple(Row(at_ns=at * 4_000_000_000, prompt_tokens=500, output_tokens=10) for at in range(9))
    trace = Source(file="t", format="azure", number=9, used=9, seconds=32.0, prompt_tokens=500.0)
    trace = msgspec.structs.replace(trace, output_tokens=10.0)
    fields = {"trace": trace, "requests": None, "concurrency": (), "trials": 1} | changes
    return of(**fields, material=Material(rows=rows))


@pytest.mark.parametrize("load", [{"rate": (0.1,)}, {"concurrency": (1,)}])
def test_a_traces_lengths_under_another_load_are_forecast_as_many_as_there_are(load):
    counted, found = forecast(traced(**load, requests=9)), forecast(traced(**load))
    assert found == counted and found.prompt_tokens >= 9 * 500
    assert forecast(traced(rate=(0.1,))).seconds > 90
    assert forecast(traced(rate=(0.1,), seconds=5.0)).seconds < 90
