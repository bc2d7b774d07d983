import itertools
import math

import msgspec
import pytest

from benchsuite.errors import UsageError
from benchsuite.types import Listed, Slo, Workload
from benchsuite.workload import schema
from benchsuite.workload.card import card, measured_s
from benchsuite.workload.load import load, overridden, shipped, workload_digest
from benchsuite.workload.points import points
from benchsuite.workload.slo import parse_slo

SMALL = """
name = "small"
version = 2
description = "Is it there?"
[prompts]
tokens = [16, 32]
[outputs]
tokens = 8
[load]
concurrency = [1, 4]
[stop]
requests = 10
"""

# A published workload never changes: make chat@2 instead of editing this table.
DIGESTS = {
    "1k-1k@1": "abc22a22654a0c199b0a4fc088b972ac063c2472bc9f0294f899281cfb759df5",
    "1k-8k@1": "fba6e43f0c79237a92ef6601f5182dd17290e830ae997fe6b18791808997e86e",
    "8k-1k@1": "fbe4c6e11b8039d2daf1bb122f68698cf4d3bc708269bbf3415e545e76ce1f9e",
    "agent@1": "016665350359d6f5a5e8c8a7674ddc5a2a365bbc6c22814e84483a784c9724cd",
    "azure-chat@1": "7a42cf83135424de765a9b067914a7df128d55d2e8593fe65c13ac57c43b1699",
    "azure-code@1": "a22e125cb93d4f295cf5c0b6c1bf904bc15a8261e3f6e6a2b028d4f3666477fd",
    "batching@1": "737f9cbc88058c8a35ef6bbd6af23046229326dbe8fda9abfad90eef7df1f621",
    "burst@1": "b8e99b7ddee1f0c79772ea69c738f5087746e9ea466a16be9c54e082f43556e4",
    "caching@1": "4d431f67f26991bf0e00696c3f01f3d289a05c93a782bca1d448209bdf15b3a0",
    "chat@1": "01df45cb56e3a00bfdbf939bcf08ce3f8ddfb083f98f2b309ae437ad44d02de1",
    "chat-multiturn@1": "5bd391765378efb7db1ab4e7493f773e48cc0d37220216ebbc85e9f7d1690f12",
    "code-completion@1": "6f97ae6511dafc2e76d950e359aa6acd3ad8eabfdbd0d77cd25230d7690f5323",
    "long-output@1": "33c9702098c5dd449184af054b9d2f6f6b61895136d9d0c4fe1b43f43a48bdd9",
    "long-prompt@1": "df8cefdfa64433cdd01e6a9732a45e781e7dfb9a46dcb3fa86c402a2a2626bd9",
    "model-size@1": "58313ca91a081d868f3c03cbf6d12958e900af937930e0aeef4d268ce83cecd3",
    "mooncake-chat@1": "a6563ad1dec267a4bc6dc5f96748f6442559b248cf838248c5ac5cbb5982c495",
    "offline@1": "f3e2380817644db474f3a088cc2639dd3ab2a1f9b8d52e3a326ba46edc1b0471",
    "quick@1": "4dd91b048426a2f228aa40b31b1569257963e1b3cc812d38c7da2d76d9ff1ea7",
    "rag@1": "d8471613365801d62f98bafb9a2675b0808c8a6d7a1bd927abbb955dc643cfee",
    "reasoning@1": "9b12ef8d8a242683ed4bcca43f62a5822e154151d1aa9c21f84d0f17fc45edb3",
    "streaming@1": "1cc867cc1c56abd4eaaf8f4ff6adc70aed963158d22d5a2502e5f80702fc9400",
    "summarise@1": "9290347f46f69f44526a216716229eaa5ce0e357bb840c631edf435152b3984e",
    "task@1": "001143c8b9b1d1b40ad023dbc26cbdad8d77dd0c73174da631af338d2ad94c59",
    "tokens@1": "3fc1e82ec38548c785e3ac74437495fba091b6cd222dc240f25fada16c0ef1fa",
    "trace@1": "26c077f4e58b7313fa6911cec57131b2c6e6d843468a0422774224bb14ceaeec",
}


def written(tmp_path, text):
    path = tmp_path / "my.toml"
    path.write_text(text)
    return str(path)


def test_shipped_workloads_are_frozen_and_named_as_their_files():
    assert {name: workload_digest(load(name)) for name in shipped()} == DIGESTS
    assert all(f"{load(name).name}@{load(name).version}" == name for name in shipped())


def test_bare_name_is_the_newest_version(tmp_path, monkeypatch):
    monkeypatch.setattr("benchsuite.workload.load.files", lambda package: tmp_path)
    for version in (10, 9, 1):
        text = SMALL.replace("version = 2", f"version = {version}")
        (tmp_path / f"small@{version}.toml").write_text(text)
    assert shipped() == ("small@1", "small@9", "small@10")
    assert (load("small").version, load("small@9").version) == (10, 9)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match=r"did you mean chat@1\? There are: .*chat@1.* long-output@1"):
        load("chta")


def test_quick_is_done_in_well_under_a_minute():
    seconds = measured_s(load("quick"))
    assert seconds is not None
    assert seconds < 30


def test_a_file_says_everything_a_workload_holds(tmp_path):
    text = """
        name = "all"
        version = 1
        description = "Everything."
        seed = 7
        [prompts]
        tokens = 100
        same = "text"
        [outputs]
        tokens = [1, 2]
        [load]
        concurrency = 8
        rate = [0.5, 4, "inf"]
        arrivals = "constant"
        [cache]
        mode = "warm"
        [warm_up]
        seconds = 5
        max_requests = 64
        [stop]
        requests = 10
        trials = 5
        [slo]
        ttft_ms = 500
        e2e_ms = 9000.5
    """
    assert load(written(tmp_path, text)) == Workload(
        name="all",
        version=1,
        description="Everything.",
        seed=7,
        prompt_tokens=(100,),
        same="text",
        output_tokens=(1, 2),
        concurrency=(8,),
        rate=(0.5, 4.0, math.inf),
        arrivals="constant",
        text="prose",
        cache=("warm",),
        warm_up_seconds=5.0,
        warm_up_max_requests=64,
        requests=10,
        trials=5,
        slo=Slo(ttft_ms=500.0, e2e_ms=9000.5),
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[load]", "[load]\nconcurency = 1", "[load] concurency; did you mean [load] concurrency?"),
        ('name = "small"', 'name = "small"\ntrial = 1', "unknown key trial; did you mean [stop] trials?"),
        ("[outputs]", "[outputs]\nprompts = 9", "[outputs] prompts; did you mean the section [prompts]?"),
        ("[outputs]", "[output]", "unknown section [output]; did you mean [outputs]?"),
        ("[outputs]\ntokens = 8", "", "[outputs] tokens is missing"),
        ("tokens = 8", "tokens = 0", "[outputs] tokens must be a whole number, 1 or more, not 0"),
        ("tokens = 8", "tokens = true", "whole number"),
        ("tokens = 8", "tokens = 8.0", "whole number"),
        ("tokens = 8", "tokens = []", "not []"),
        ("[1, 4]", "[4, 4]", "a list of different ones"),
        ("concurrency = [1, 4]", "rate = -1.0", "[load] rate must be more than 0"),
        ("concurrency = [1, 4]", 'rate = "fast"', "[load] rate must be a number, not 'fast'"),
        ("concurrency = [1, 4]", "rate = nan", "must be a number"),
        ("concurrency = [1, 4]", "", "a concurrency, a rate, or both"),
        ("requests = 10", "", "either requests or seconds"),
        ("requests = 10", "requests = 10\nseconds = 1", "either requests or seconds"),
        ("requests = 10", "requests = 10\ntrials = 0", "[stop] trials must be"),
        ("requests = 10", "seconds = inf", "[stop] seconds must be more than 0"),
        ("requests = 10", 'requests = 10\n[cache]\nmode = "hot"', "'cold', 'warm' or 'shared', not 'hot'"),
        ("requests = 10", "requests = 10\n[slo]\nttft_ms = 0", "[slo] ttft_ms must be more than 0"),
        ("[prompts]\ntokens = [16, 32]", "prompts = 16", "prompts is a section: write [prompts]"),
        ("version = 2", "version = ", "Invalid value"),
    ],
)
def test_bad_files_are_refused_in_one_line_with_what_to_do(tmp_path, old, new, told):
    assert old in SMALL
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, SMALL.replace(old, new)))
    assert told in str(caught.value)
    assert str(caught.value).startswith("my.toml: ")
    assert "\n" not in str(caught.value)


def test_an_endless_or_empty_trial_is_refused():
    quick = load("quick")
    with pytest.raises(UsageError, match=r"rate inf .* stops by requests"):
        overridden(quick, rate=math.inf)
    with pytest.raises(UsageError, match=r"0\.1 req/s needs 10 seconds"):
        overridden(quick, rate=[1, 0.1])
    assert overridden(quick, rate=math.inf, requests=100).seconds is None


def test_unreadable_files_are_usage_errors(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    for name, told in (("none.toml", "No such file"), ("latin.toml", "UTF-8"), ("", "directory")):
        with pytest.raises(UsageError, match=told):
            load(f"{tmp_path}/{name}")


def test_a_load_given_by_hand_replaces_the_other_kind():
    quick = load("quick")
    opened = overridden(quick, rate=4)
    assert (opened.concurrency, opened.rate) == ((), (4.0,))
    closed = overridden(opened, concurrency=(2, 3))
    assert (closed.concurrency, closed.rate) == ((2, 3), ())
    both = overridden(quick, rate=4, concurrency=2)
    assert (both.concurrency, both.rate) == ((2,), (4.0,))
    counted = overridden(quick, requests=5)
    assert (counted.requests, counted.seconds) == (5, None)
    assert overridden(counted, seconds=3) == overridden(quick, seconds=3.0)
    with pytest.raises(UsageError, match="either requests or seconds"):
        overridden(quick, requests=5, seconds=3)
    with pytest.raises(UsageError, match="prompt tokens must be a whole number, 1 or more, not 0"):
        overridden(quick, prompt_tokens=0)
    slo = parse_slo("ttft=1")
    assert overridden(quick, trials=9, cache="warm", seed=3, slo=slo) == msgspec.structs.replace(
        quick, trials=9, cache=("warm",), seed=3, slo=slo
    )


def test_slo_is_read_with_its_units():
    assert parse_slo("ttft=500ms, TPOT=50000us,e2e=2s") == Slo(ttft_ms=500, tpot_ms=50, e2e_ms=2000)
    assert parse_slo("tpot=30") == Slo(tpot_ms=30)
    for text, told in (
        ("tftt=5ms", "did you mean ttft=500ms"),
        ("ttft=5m", "time such as"),
        ("ttft=-1s", "time such as"),
        ("ttft", "time such as"),
        ("ttft=1,ttft=2", "two limits"),
        ("", "unknown limit"),
    ):
        with pytest.raises(UsageError, match=told):
            parse_slo(text)


def test_any_other_question_has_another_digest():
    quick = load("quick")
    changed = [
        overridden(quick, seed=1),
        overridden(quick, rate=1),
        overridden(quick, rate=math.inf, requests=5),
        overridden(quick, trials=4),
        overridden(quick, slo=Slo(ttft_ms=1)),
    ]
    digests = [workload_digest(each) for each in (quick, *changed)]
    assert len(set(digests)) == len(digests)
    assert workload_digest(overridden(quick, seconds=4)) == digests[0]
    # All at once isn't as fast as it goes: JSON has no word for infinity.
    listed = [(Listed(concurrency=8, rate=rate),) for rate in (None, math.inf)]
    closed, offline = (msgspec.structs.replace(quick, listed=points, concurrency=()) for points in listed)
    assert workload_digest(closed) != workload_digest(offline)


def test_points_are_the_grid_in_order(tmp_path):
    small = load(written(tmp_path, SMALL))
    grid = [(p.index, p.prompt_tokens, p.output_tokens, p.concurrency, p.rate) for p in points(small)]
    assert grid == [(0, 16, 8, 1, None), (1, 16, 8, 4, None), (2, 32, 8, 1, None), (3, 32, 8, 4, None)]
    capped = overridden(small, prompt_tokens=16, rate=[2, 3], concurrency=[5, 6])
    assert [(p.rate, p.concurrency) for p in points(capped)] == list(itertools.product((2.0, 3.0), (5, 6)))
    assert [p.load for p in points(overridden(small, rate=[2, math.inf]))] == ["open", "offline"] * 2


def test_card_explains_a_workload():
    rows = dict(card(load("chat")))
    assert rows["What it tells"] == load("chat").description
    assert rows["Load"] == "closed loop, 1, 8, 64 in flight"
    assert rows["Warm-up"].startswith("2, 16, 128 requests")
    assert rows["Trials"] == "3 for each of 3 points, 3.8 min of measuring in all"
    assert rows["SLO"] == "TTFT ≤ 2000 ms, TPOT ≤ 100 ms"
    assert rows["Digest"] == DIGESTS["chat@1"]
    opened = dict(card(overridden(load("chat"), rate=[2, math.inf], concurrency=9, requests=1000)))
    assert opened["Load"] == "open loop with Poisson arrivals, 2 req/s, all at once, at most 9 in flight"
    assert opened["Stop"] == "a trial stops after 1,000 requests"


def test_a_card_counts_the_runs_of_its_models_and_engine_settings():
    small = load("model-size")
    alone = measured_s(msgspec.structs.replace(small, models=()))
    assert alone is not None and measured_s(small) == len(small.models) * alone
    assert dict(card(small))["Trials"].startswith(f"3, in each of {len(small.models)} runs, ")
    batching = msgspec.structs.replace(small, engine={"max-seqs": ("4", "8")})
    assert measured_s(batching) == 2 * len(small.models) * alone


def test_a_card_says_of_a_listed_point_whether_it_is_streamed():
    listed = (Listed(rate=2.0, stream=False), Listed(rate=1.0, stream=True), Listed(rate=3.0))
    sweep = dict(card(msgspec.structs.replace(load("quick"), concurrency=(), listed=listed)))["Sweep"]
    assert sweep == "the points rate 2.0, not streamed; rate 1.0, streamed; rate 3.0"


def test_the_card_of_a_batch_says_what_it_does():
    workload = overridden(load("chat"), batch=True, requests=50, cache="shared", reasoning="low")
    rows = dict(card(workload))
    assert "batch API" in rows["Load"] and rows["Warm-up"] == "none"
    assert rows["Stop"] == "a trial is a batch of 50 requests"
    assert rows["Cache"].startswith("shared: ") and "half of it" in rows["Cache"]
    assert rows["Output"].endswith("reasoning low")


def test_a_batch_is_one_trial_unless_more_are_asked_for():
    text = BATCHED.format("")
    assert schema.parsed(text, "my.toml").trials == 1
    assert schema.parsed(BATCHED.format("trials = 2"), "my.toml").trials == 2


BATCHED = """
name = "b"
version = 1
description = "d"
[prompts]
tokens = 64
[outputs]
tokens = 16
[load]
batch = true
[stop]
requests = 10
{}
"""
