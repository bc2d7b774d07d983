"""Sweeps over models and settings of an engine: each arm is a run, told apart on the screen, and resumed."""

from types import SimpleNamespace

import msgspec
import pytest
from click import BadParameter

from benchsuite.asked import Options
from benchsuite.cli import main
from benchsuite.cli.run_sweep import check_zip, settings
from benchsuite.cli.settings import FILLED
from benchsuite.engine.trial import Interrupt
from benchsuite.errors import UsageError
from benchsuite.report.several import merged_columns, names_of
from benchsuite.run import run
from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.store.runs import Store
from benchsuite.sweep import arms, resumed
from benchsuite.types import Progress, Share, Workload
from benchsuite.workload.load import load, overridden, workload_digest
from benchsuite.workload.points import points
from benchsuite.workload.schema import made, parsed, read

WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(40,),
    output_tokens=(4,),
    concurrency=(2,),
    requests=6,
    trials=1,
)


def of(url="", model="", engine=None, **fields):
    workload = msgspec.structs.replace(WORKLOAD, **fields)
    return Options(backend="sim", url=url, model=model, workload=workload, engine=engine or {})


# ---------------------------------------------------------------- which arms there are


def test_each_model_meets_each_setting_and_only_what_varies_is_an_axis():
    found = arms([of(models=("a", "b"), engine={"tp": "1"}, **{})])
    assert [(arm.model, arm.engine) for arm in found] == [("a", {"tp": "1"}), ("b", {"tp": "1"})]
    workload = msgspec.structs.replace(
        WORKLOAD, models=("a", "b"), engine={"tp": ("1",), "max-seqs": ("4", "16")}
    )
    found = arms([Options(backend="sim", workload=workload)])
    assert [arm.axes for arm in found] == [
        {"model": model, "max-seqs": seqs} for model in ("a", "b") for seqs in ("4", "16")
    ]
    assert {arm.engine["tp"] for arm in found} == {"1"}
    assert len({arm.sweep for arm in found}) == 1 and found[0].sweep


def test_what_a_target_says_itself_takes_the_place_of_the_workloads():
    workload = msgspec.structs.replace(WORKLOAD, models=("a", "b"), engine={"max-seqs": ("4", "16")})
    (arm,) = arms([Options(backend="sim", workload=workload, model="c", engine={"max-seqs": "8"})])
    assert (arm.model, arm.engine, arm.axes, arm.sweep) == ("c", {"max-seqs": "8"}, {}, "")


def test_targets_are_told_apart_by_backend_address_and_model():
    two = arms([of("http://localhost:1", "a"), of("http://localhost:2", "a")])
    assert [arm.axes for arm in two] == [{"address": "http://localhost:1"}, {"address": "http://localhost:2"}]


def test_several_models_beside_a_mix_are_refused_as_each_run_would_be_the_same():
    mixed = {"mix": (Share(model="a", share=1.0), Share(model="b", share=1.0))}
    with pytest.raises(UsageError, match="a run for each of a, b would be the same") as error:
        arms([of(url="http://h/1", model="a", **mixed), of(url="http://h/1", model="b", **mixed)])
    assert "leave --mix out" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UsageError, match="a mix says itself"):
        arms([of(models=("a", "b"), **mixed)])
    # Other servers are another question.
    assert len(arms([of(url="http://h/1", model="a", **mixed), of(url="http://h/2", **mixed)])) == 2
    assert len(arms([of(url="http://h/1", model="a", **mixed)])) == 1
    # Each engine that is started has its own base below the adapters.
    launched = [msgspec.structs.replace(of(model=base, **mixed), start="launch") for base in ("a", "b")]
    assert [arm.model for arm in arms(launched)] == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--concurrency", "1,2"), "only one, of concurrency: give two lists"),
        (("--concurrency", "2"), "there is none: give two lists"),
        (
            ("--model", "a,b", "--concurrency", "1,2"),
            "only one, of concurrency; models, targets and engine settings form runs of their own",
        ),
        (("--workload", "caching"), "the workload lists its points"),
    ],
)
def test_zip_with_nothing_to_put_side_by_side_is_refused(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    run = ["run", "--url", "http://127.0.0.1:9/v1", "--sweep", "zip", "--dry-run", *words]
    assert main(run) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_default_of_zip_asks_for_no_lists():
    words = {"sweep": "zip", "model": None, "target": ()}
    check_zip({**words, FILLED: SimpleNamespace(typed=frozenset())}, load("quick"))
    with pytest.raises(UsageError, match="only one, of concurrency"):
        check_zip({**words, FILLED: None}, load("quick"))


def test_which_server_answers_is_no_part_of_the_question():
    swept = msgspec.structs.replace(WORKLOAD, models=("a", "b"), engine={"max-seqs": ("4", "16")})
    assert workload_digest(swept) == workload_digest(WORKLOAD)


def test_a_whole_sweep_is_no_run(tmp_path):
    with pytest.raises(UsageError, match="models or engine settings"):
        run(of(models=("a", "b")), Store(tmp_path), tell=lambda told: None, interrupt=Interrupt())


# ---------------------------------------------------------------- how it is said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tp=2", {"tp": ("2",)}),
        ("max-seqs=4,16", {"max-seqs": ("4", "16")}),
        ("tp=2,max-seqs=4,16,64,eager=on", {"tp": ("2",), "max-seqs": ("4", "16", "64"), "eager": ("on",)}),
    ],
)
def test_a_value_without_a_name_is_one_more_of_the_setting_before_it(text, found):
    assert settings(text) == found


@pytest.mark.parametrize("text", ["4,16", "max-seqs", "max-seqs=4,,8", "max-seqs=4,"])
def test_settings_that_cant_be_read_say_what_to_write(text):
    with pytest.raises(BadParameter, match=r"write it as NAME=VALUE|write K=V,V"):
        settings(text)


def test_zip_puts_lists_side_by_side_and_says_which_dont_fit():
    workload = overridden(
        load("quick"), prompt_tokens=(64, 128), output_tokens=(8, 16), sweep="zip", concurrency=2
    )
    assert [(p.prompt_tokens, p.output_tokens, p.concurrency) for p in points(workload)] == [
        (64, 8, 2),
        (128, 16, 2),
    ]
    with pytest.raises(UsageError, match="2 prompt tokens and 3 concurrency") as error:
        overridden(load("quick"), prompt_tokens=(64, 128), concurrency=(1, 2, 4), sweep="zip")
    assert "\n" not in str(error.value)


def test_a_file_whose_lists_dont_fit_is_refused_with_its_name(tmp_path):
    path = tmp_path / "w.toml"
    path.write_text(
        'name = "w"\nversion = 1\ndescription = "d"\n[prompts]\ntokens = [1, 2]\n[outputs]\ntokens = 4\n'
        '[load]\nconcurrency = [1, 2, 3]\n[stop]\nrequests = 4\n[sweep]\ncombine = "zip"\n'
    )
    with pytest.raises(UsageError, match=r"^w\.toml: \[sweep\] combine"):
        load(str(path))


@pytest.mark.parametrize(
    ("listed", "changes", "said"),
    [
        ([{"hit_ratio": 0.5}, {"hit_ratio": 0.9}], {}, 'hit_ratio goes with the cache mode "shared"'),
        ([{"hit_ratio": 0.5, "cache": "shared"}, {"hit_ratio": 0.9}], {}, "hit_ratio goes with"),
        ([{"hit_ratio": 0.5, "cache": "cold"}], {"cache": "shared"}, "hit_ratio goes with"),
        (
            [{"hit_ratio": 0.5}],
            {"cache": "shared", "shared_tokens": 64},
            "either shared_tokens or a hit_ratio",
        ),
        (
            [{"prompt_tokens": 512}],
            {"cache": "shared", "shared_tokens": 1000, "prompt_tokens": 2000},
            "1000 shared tokens leave nothing of a prompt of 512 that is its own",
        ),
        ([{"cache": "warm"}], {"batch": True}, "a batch isn't warmed up"),
    ],
)
def test_listed_points_are_held_to_what_axes_are(listed, changes, said):
    fields = {"listed": listed, "requests": 8, "prompt_tokens": [64], "output_tokens": 4}
    fields |= {} if "batch" in changes else {"concurrency": [4]}
    with pytest.raises(UsageError, match=said):
        made(_read({"name": "w", "version": 1, "description": "d"} | fields | changes), "")


HEAD = 'name = "w"\nversion = 1\ndescription = "d"\n[prompts]\ntokens = 64\n[outputs]\ntokens = 4\n'
CLOSED = "[load]\nconcurrency = 2\n[stop]\nrequests = 4\n"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            '[sweep]\npoints = [{}, { rate = 1 }, { cache = "cold", hit_ratio = 1 }]\n'
            '[cache]\nmode = "shared"',
            '[sweep] points no. 3: hit_ratio goes with the cache mode "shared"',
        ),
        (
            '[cache]\nmode = "shared"\nshared_tokens = 100',
            "[cache] shared_tokens: 100 shared tokens leave nothing of a prompt of 64",
        ),
        ("[cache]\ngroups = 3", '[cache] groups goes with the cache mode "shared"'),
        ("[cache]\nzipf = 1", "[cache] zipf goes with"),
        ("[load]\ntime_scale = 2\nconcurrency = 2", "[load] time_scale goes with a trace"),
        ("[load]\nbatch = true\nconcurrency = 2", "[load] batch: a batch API decides itself"),
        ("[sweep]\npoints = [{}, { rate = -1 }]", "[sweep] points no. 2 has a rate that must be more than 0"),
        ("[sweep]\npoints = [{}, { rate = -1 }]", ', or "inf", not -1'),
        ("[sweep]\npoints = [{}, 7]", "[sweep] points no. 2 must be a table: "),
        (
            "[load]\nstages = [{ seconds = 1, rate = 2 }, { seconds = 1 }]",
            "[load] stages no. 2 must have seconds",
        ),
        (
            "[load]\nstages = [{ seconds = 'x', rate = 2 }]",
            "no. 1 has a seconds that must be a number, not 'x'",
        ),
        (
            "[slo]\nlimits = { ttft_p95 = 'fast' }",
            "[slo] limits has a ttft_p95 that must be a number, not 'fast'",
        ),
        ("[slo]\nlimits = { 'has a limit' = 'fast' }", "[slo] limits has a limit 'has a limit': it must be"),
        ("[slo]\nlimits = { ttft_p950 = 'fast' }", "[slo] limits has a limit 'ttft_p950': it must be"),
        ("[load]\nconcurrency = 2\ncv = 3", "[load] cv: a cv goes with arrivals"),
        ("[cache]\nmode = 'shared'\nhit_ratio = 1\nshared_tokens = 9", "[cache]: say how much is shared"),
        ("[check]\nkind = 'regex'", '[check]: a check "regex" takes the pattern'),
    ],
)
def test_a_fault_is_told_with_its_place_in_the_file(tmp_path, more, said):
    text = HEAD + (more if more.startswith("[load]") else f"{CLOSED}{more}")
    with pytest.raises(UsageError) as error:
        parsed(text if "[stop]" in text or "stages" in text else f"{text}\n[stop]\nrequests = 4", "w.toml")
    assert str(error.value).startswith("w.toml: [") and said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_point_or_a_model_may_come_again_to_see_how_the_server_drifts():
    points_again = "[sweep]\norder = 'listed'\npoints = [{ rate = 1 }, {}, { rate = 1 }]"
    found = points(parsed(f"{HEAD}{CLOSED}{points_again}", "w.toml"))
    assert [(one.index, one.rate) for one in found] == [(0, 1.0), (1, None), (2, 1.0)]
    again = parsed(f"{HEAD}{CLOSED}[sweep]\nmodels = ['a', 'b', 'a']", "w.toml")
    assert [arm.model for arm in arms([Options(backend="sim", workload=again)])] == ["a", "b", "a"]


def test_a_warm_point_has_one_length_whatever_the_others_have():
    spread = {"kind": "uniform", "low": 20, "high": 40}
    fields = {"concurrency": [4], "requests": 8, "prompt_tokens": [64], "output_tokens": 4}
    fields |= {"name": "w", "version": 1, "description": "d"}
    found = points(made(_read(fields | {"listed": [{"cache": "warm"}, {"prompt_tokens": spread}]}), ""))
    assert [(one.cache, one.prompt_spread is None) for one in found] == [("warm", True), ("cold", False)]
    with pytest.raises(UsageError, match=r"points no\. 2: a warm cache is asked one prompt again"):
        made(_read(fields | {"listed": [{"cache": "cold"}, {"prompt_tokens": spread, "cache": "warm"}]}), "")
    with pytest.raises(UsageError, match="a warm cache is asked"):
        made(_read(fields | {"prompt_tokens": spread, "cache": ["cold", "warm"]}), "")


def test_listed_hit_ratios_share_what_their_rows_say():
    listed = [{"hit_ratio": 0.5}, {"hit_ratio": 0.9}, {"cache": "cold"}, {"prompt_tokens": 128}]
    fields = {"listed": listed, "concurrency": [4], "requests": 8, "prompt_tokens": [64], "output_tokens": 4}
    shared = {"cache": "shared", "hit_ratio": [0.25]}
    found = points(made(_read({"name": "w", "version": 1, "description": "d"} | fields | shared), ""))
    assert [(one.cache, one.hit_ratio) for one in found] == [
        ("shared", 0.5),
        ("shared", 0.9),
        ("cold", None),
        ("shared", 0.25),
    ]


def _read(fields):
    return {name: read(name, value, name) for name, value in fields.items()}


def test_the_command_line_sweeps_engines_that_it_starts_only(capsys):
    assert main(["run", "--backend", "local", "--engine", "max-sqs=1,4", "--dry-run"]) == 2
    assert "did you mean max-seqs" in capsys.readouterr().err


# ---------------------------------------------------------------- measured


def test_of_arms_that_are_alike_each_is_a_run_of_its_own_to_go_on_with(tmp_path):
    store = Store(tmp_path)
    with running(SimConfig(ttft_ms=1.0, itl_ms=0.1)) as simulator:
        again = of(simulator.url, models=("a", "b", "a"))
        planned = arms([again])
        measure = {"tell": lambda told: None, "interrupt": Interrupt()}
        done = [run(arm, store, **measure).manifest.run_id for arm in planned[:2]]
        left, there = resumed(arms([again]), store)
        assert [arm.model for arm in left] == ["a"]
        assert [run_dir.run_id for run_dir in there] == done
        run(left[0], store, **measure)
        with pytest.raises(UsageError, match="nothing to resume"):
            resumed(arms([again]), store)
    assert len(store.runs()) == 3


def test_an_interrupted_sweep_measures_the_arms_that_are_left_and_no_other(tmp_path):
    store, truth = Store(tmp_path / "store"), tmp_path / "truth.jsonl"
    interrupt = Interrupt()

    def stop(told):
        if isinstance(told, Progress) and told.trial == 1:
            interrupt.level = 1

    with running(SimConfig(ttft_ms=60.0, itl_ms=1.0, truth_path=str(truth))) as simulator:
        planned = arms([of(simulator.url, models=("a", "b", "c"))])
        done = run(planned[0], store, tell=lambda told: None, interrupt=Interrupt())
        assert run(planned[1], store, tell=stop, interrupt=interrupt).status == "interrupted"
        left, there = resumed(arms([of(simulator.url, models=("a", "b", "c"))]), store)
        assert [arm.model for arm in left] == ["b", "c"]
        assert [run_dir.run_id for run_dir in there] == [done.manifest.run_id]
        runs = [done, *(run(arm, store, tell=lambda told: None, interrupt=Interrupt()) for arm in left)]
        with pytest.raises(UsageError, match="nothing to resume"):
            resumed(planned, store)
    assert [each.status for each in runs] == ["finished"] * 3
    assert {each.manifest.sweep for each in runs} == {planned[0].sweep}
    assert [each.manifest.axes for each in runs] == [{"model": name} for name in ("a", "b", "c")]
    assert len(store.runs()) == 3
    sent = [entry.request_id for entry in read_truth(truth)]
    for each in runs:
        rows = next(one for one in store.runs() if one.run_id == each.manifest.run_id).records().to_pylist()
        assert len(rows) == WORKLOAD.requests
        assert all(sent.count(row["request_id"]) == 1 for row in rows)
    assert sum(f"{done.manifest.run_id}-0-1-" in name for name in sent) == WORKLOAD.requests


def test_engine_settings_of_the_real_engine_are_runs_with_their_own_batch(tmp_path):
    store = Store(tmp_path)
    workload = msgspec.structs.replace(WORKLOAD, engine={"max-seqs": ("1", "2")})
    planned = arms([Options(backend="local", workload=workload, model="shape:5m", start="launch")])
    runs = [run(arm, store, tell=lambda told: None, interrupt=Interrupt()) for arm in planned]
    assert [each.manifest.identity.slots for each in runs] == [1, 2]
    assert [each.manifest.engine for each in runs] == [{"max-seqs": "1"}, {"max-seqs": "2"}]
    assert [each.summaries[0].point.concurrency for each in runs] == [2, 2]
    assert names_of(runs) == ("engine", ["max-seqs 1", "max-seqs 2"])
    columns = {column.title: column.cells for column in merged_columns(runs)}
    assert columns["engine max-seqs"] == ("1", "2")
    assert columns["in flight"] == ("2", "2")
    assert "parameters" not in columns
    assert runs[0].manifest.identity.details["parameters"] == "6.82M"
    another = msgspec.structs.replace(
        runs[1].manifest, model="big", identity=msgspec.structs.replace(runs[1].manifest.identity, details={})
    )
    both = [runs[0], msgspec.structs.replace(runs[1], manifest=another)]
    assert {c.title: c.cells for c in merged_columns(both)}["parameters"] == ("6.82M", "unknown")
