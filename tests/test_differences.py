"""What two manifests differ in, and which of it is told."""

from pathlib import Path

import msgspec
import pytest

from benchsuite.differences import asked_differently, differs_in, obstacles, strict_obstacles, told_apart
from benchsuite.types import Lengths, Price, Run, Source

CHAT = Path(__file__).parent / "report" / "chat.json"
BASE = msgspec.structs.replace(msgspec.json.decode(CHAT.read_bytes(), type=Run).manifest, price=None)


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


def test_other_lists_of_the_same_workload_are_allowed_and_told():
    changed = {"concurrency": (1, 8), "seconds": 10.0, "trials": 5, "arrivals": "constant"}
    other = replaced(BASE, workload=replaced(BASE.workload, **changed))
    assert obstacles(BASE, other) == ()
    told = {each.name: (each.base, each.other) for each in asked_differently(BASE, other)}
    assert told == {"concurrency": ("1, 8, 64", "1, 8"), "seconds": ("25", "10"), "trials": ("3", "5")}


def test_what_differs_is_listed_and_seed_and_nonce_are_not():
    engine = "python -P -m server --model ~/a.gguf --port 1 --threads {} --slots 8"
    other = replaced(
        BASE,
        backend="local",
        model="other",
        gpu="L4",
        attached=False,
        endpoint="completions",
        version="0.2.0",
        seed=7,
        nonce="other",
        engine={"tp": "2"},
        labels={"branch": "fix"},
        connection={"proxy": "through a proxy"},
        identity=replaced(BASE.identity, version="0.34.0", slots=8, details={"quantization": "Q8_0"}),
        machine=replaced(BASE.machine, id="fedcba9876543210"),
        lengths=Lengths(words=(), overhead=0, source="assumed"),
        launch_command=engine.format(4),
    )
    told = {each.name: (each.base, each.other) for each in differs_in(BASE, other)}
    assert told == {
        "backend": ("openai", "local"),
        "server": ("vLLM 0.33.0", "vLLM 0.34.0"),
        "model": ("meta-llama/Llama-3.1-8B-Instruct", "other"),
        "slots": ("256", "8"),
        "GPU": ("H100", "L4"),
        "started by": ("somebody else", "benchsuite"),
        "endpoint": ("chat", "completions"),
        "prompt lengths": ("fitted to the server", "assumed"),
        "client machine": ("Xeon, 8 cores, 32 GiB (012345)", "Xeon, 8 cores, 32 GiB (fedcba)"),
        "benchsuite": ("0.1.0", "0.2.0"),
        "quantization": ("bf16", "Q8_0"),
        "engine tp": ("–", "2"),
        "launch threads": ("–", "4"),
        "connection proxy": ("–", "through a proxy"),
        "label branch": ("main", "fix"),
    }
    again = replaced(other, launch_command=engine.format(2).replace("--port 1", "--port 2"))
    assert [(each.name, each.other) for each in differs_in(other, again)] == [("launch threads", "2")]
    assert differs_in(BASE, BASE) == ()
    json = [replaced(other, launch_command=f"sim --config '{{\"port\": {port}}}'") for port in (1, 2)]
    assert differs_in(*json) == ()


def test_a_price_is_told_with_its_source_and_date():
    priced = replaced(
        BASE, price=Price(gpu="L4", count=2, usd_per_gpu_hour=0.9, source="list", date="2026-11-01")
    )
    stated = replaced(BASE, price=Price(gpu="L4", usd_per_gpu_hour=1.5, source="stated"))
    (told,) = differs_in(priced, stated)
    assert told.base == "2 × L4 at $0.9 an hour, list 2026-11-01"
    assert told.other == "1 × L4 at $1.5 an hour, stated"


def test_options_of_a_launch_have_all_their_values_and_no_other_options():
    base = replaced(BASE, launch_command="serve m --lora a=1 b=2 --eager -O 3 --bias -1 --tp=2 extra")
    told = {each.name: each.base for each in differs_in(base, replaced(base, launch_command="serve m"))}
    assert told == {
        "launch lora": "a=1 b=2",
        "launch eager": "yes",
        "launch bias": "-1",
        "launch tp": "2",
    }


# ---------------------------------------------------------------- what somebody chose, and what changed


def names(differences):
    return [each.name for each in differences]


def identity_of(**changes):
    return replaced(BASE.identity, **changes)


NEWER = {"version": "0.2.0", "identity": identity_of(version="0.34.0")}


def test_what_changed_on_its_own_is_told_apart_from_what_was_chosen():
    other = replaced(BASE, model="other", packages={"httptools": "0.8.0"}, labels={"branch": "x"}, **NEWER)
    chosen, also = told_apart(BASE, other)
    assert names(chosen) == ["model", "label branch"]
    assert [(each.name, each.base, each.other) for each in also] == [
        ("server", "vLLM 0.33.0", "vLLM 0.34.0"),
        ("benchsuite", "0.1.0", "0.2.0"),
        ("package httptools", "0.7.1", "0.8.0"),
    ]
    assert {*chosen, *also} == {*differs_in(BASE, other)}


def test_a_version_is_the_point_where_nothing_else_was_chosen():
    weights = identity_of(version="0.34.0", details={"quantization": "fp8"})
    chosen, also = told_apart(BASE, replaced(BASE, version="0.2.0", identity=weights))
    assert (names(chosen), names(also)) == (["server", "quantization"], ["benchsuite"])
    # Another server isn't the same one a month later.
    chosen, also = told_apart(BASE, replaced(BASE, backend="sglang", identity=identity_of(server="SGLang")))
    assert (names(chosen), also) == (["backend", "server"], ())


def test_details_of_a_model_go_with_it_and_change_on_their_own_without():
    requantised = identity_of(details={"quantization": "fp8"})
    chosen, also = told_apart(BASE, replaced(BASE, identity=requantised))
    assert (chosen, names(also)) == ((), ["quantization"])
    chosen, also = told_apart(BASE, replaced(BASE, model="other", identity=requantised))
    assert (names(chosen), also) == (["model", "quantization"], ())


def test_a_price_changed_on_its_own_only_where_the_same_thing_is_priced():
    listed = Price(gpu="L4", usd_per_gpu_hour=0.9, source="list", date="2026-10-01")
    base = replaced(BASE, price=listed)
    for changes, on_its_own in (
        ({"usd_per_gpu_hour": 1.1, "date": "2026-11-01"}, True),
        ({"gpu": "H100"}, False),
        ({"count": 2}, False),
        ({"source": "stated"}, False),
    ):
        chosen, also = told_apart(base, replaced(BASE, price=replaced(listed, **changes)))
        assert names(also if on_its_own else chosen) == ["price"] and not (chosen and also)


@pytest.mark.parametrize(
    ("meant", "chosen", "also"),
    [
        ("model", ["model", "quantization"], ["backend", "GPU", "client machine", "engine tp"]),
        ("backend", ["backend", "GPU", "quantization", "engine tp"], ["model", "client machine"]),
        ("GPU", ["GPU", "client machine"], ["backend", "model", "quantization", "engine tp"]),
    ],
)
def test_what_runs_are_compared_by_says_what_else_was_not_asked_for(meant, chosen, also):
    other = replaced(
        BASE,
        backend="sglang",
        model="other",
        gpu="L4",
        engine={"tp": "2"},
        machine=replaced(BASE.machine, id="f" * 16),
        identity=identity_of(details={"quantization": "fp8"}),
    )
    found = told_apart(BASE, other, meant)
    assert tuple(map(names, found)) == (chosen, also)


def test_a_setting_of_the_engine_is_told_once():
    one = replaced(
        BASE,
        backend="vllm",
        engine={"tp": "1"},
        launch_command="vllm serve m --tensor-parallel-size 1 --other 1",
    )
    two = replaced(one, engine={"tp": "2"}, launch_command="vllm serve m --tensor-parallel-size 2 --other 2")
    assert names(differs_in(one, two)) == ["engine tp", "launch other"]


def test_what_is_sent_besides_is_told():
    other = replaced(BASE, options={"cache": "off", "endpoint": "chat"}, extra_body='{"top_k": 1}')
    assert names(differs_in(BASE, other)) == ["extra body", "option cache"]


def test_a_trace_is_its_rows_whatever_its_file_is_called():
    def of(**facts):
        source = Source(**{"file": "t.jsonl", "sha256": "0f", "number": 9, "used": 4} | facts)
        return replaced(BASE, workload=replaced(BASE.workload, trace=source))

    assert obstacles(of(), of(file="u.jsonl")) == ()
    for other in (of(sha256="1f"), of(used=5), BASE):
        assert [reason.partition(":")[0] for reason in obstacles(of(), other)] == ["trace"]


# ---------------------------------------------------------------- regression


def test_a_regression_test_allows_the_version_under_test_and_what_is_only_told():
    details = {"quantization": "bf16", "revision": "abc"}
    other = replaced(
        BASE,
        url="http://localhost:9000",
        started="2026-12-01T00:00:00+00:00",
        labels={"branch": "fix"},
        version="0.2.0",
        identity=identity_of(version="0.34.0", details=details),
        workload=replaced(BASE.workload, trials=9),
    )
    assert strict_obstacles(BASE, other) == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "other"}, "another model"),
        ({"backend": "sglang"}, "another backend"),
        ({"gpu": "L4"}, "another GPU (H100 and L4)"),
        ({"endpoint": "completions"}, "another endpoint (chat and completions)"),
        ({"engine": {"tp": "2"}}, "another engine tp (– and 2)"),
        ({"launch_command": "serve --eager"}, "another launch eager (– and yes)"),
        ({"options": {"cache": "off"}}, "another option cache"),
        ({"extra_body": "{}"}, "another extra body"),
        ({"machine": replaced(BASE.machine, id="f" * 16)}, "another client machine"),
        ({"caching": "told not to cache"}, "another cache"),
        ({"reset_cache": True}, "another cache emptied"),
        ({"lengths": Lengths(words=(), overhead=0, source="assumed")}, "other prompt lengths"),
        ({"workers": 2}, "other client processes (1 and 2)"),
        ({"connection": {"proxy": "through a proxy"}}, "another connection proxy"),
        ({"url": "https://api.example.com"}, "another address"),
        ({"identity": identity_of(server="SGLang")}, "another server (vLLM and SGLang)"),
        ({"identity": identity_of(slots=8)}, "other slots (256 and 8)"),
        ({"identity": identity_of(details={"quantization": "fp8"})}, "another quantization (bf16 and fp8)"),
        ({"workload": replaced(BASE.workload, concurrency=(1,))}, "another concurrency"),
        ({"workload": replaced(BASE.workload, name="code")}, "workloads chat@1 and code@1"),
        ({"metrics_version": 2}, "metric definitions 1 and 2"),
    ],
)
def test_everything_else_is_in_the_way_of_a_regression_test(changes, reason):
    (found,) = strict_obstacles(BASE, replaced(BASE, **changes))
    assert found.startswith(reason)
    name = found.removeprefix("another ").partition(" (")[0]
    if found.startswith("another ") and not changes.get("workload"):
        assert strict_obstacles(BASE, replaced(BASE, **changes), under_test=[name]) == ()


def test_prices_are_in_the_way_only_of_costs():
    other = replaced(BASE, price=Price(gpu="L4", usd_per_gpu_hour=0.9, source="list"))
    assert strict_obstacles(BASE, other) == ()
    (found,) = strict_obstacles(BASE, other, cost=True)
    assert found.startswith("another price (–")
