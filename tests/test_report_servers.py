"""What is told of a server: who it is, its own account of time, its cache, what it kept to itself."""

from pathlib import Path

import msgspec
import pytest

from benchsuite.differences import differs_in
from benchsuite.driver import Capabilities
from benchsuite.report.how import how
from benchsuite.report.identity import identity_words
from benchsuite.report.listing import backend_kind, grouped
from benchsuite.report.screen import screen, target_line, warning_lines
from benchsuite.report.timing import split_line
from benchsuite.types import Estimate, Identity, Metric, Run, Warning

CHAT = Path(__file__).parent / "report" / "chat.json"


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


@pytest.fixture
def run():
    return msgspec.json.decode(CHAT.read_bytes(), type=Run)


def told(name, p50, mean=9.0):
    known = {"p50": Estimate(value=p50, n=100, needs=6), "mean": Estimate(value=mean, n=100, needs=1)}
    return Metric(name=name, unit="ms", n=100, quantiles=known)


def with_split(row, p50=(3.0, 21.0, 400.0, 0.4), **means):
    names = ("server_queue", "server_prefill", "server_decode", "server_rest")
    found = {name: told(name, value) for name, value in zip(names, p50, strict=True)}
    return replaced(row, metrics=row.metrics | found, means=row.means | means)


def flat(text):
    return " ".join(text.split())


def test_the_servers_own_split_in_a_line(run):
    row = with_split(run.summaries[0], acceptance=0.615)
    assert split_line(row) == (
        "Server's own split (medians): queue 3.0 ms, prefill 21 ms, decode 400 ms, network and rest 0.4 ms; "
        "drafts kept 61.5 %"
    )
    assert split_line(run.summaries[0]) is None
    few = with_split(run.summaries[0], (None, 21.0, 400.0, 0.4))
    assert split_line(few).startswith("Server's own split (means): queue 9.0 ms, prefill 9.0 ms")
    negative = with_split(run.summaries[0], (3.0, 21.0, 400.0, -1.2))
    assert split_line(negative).endswith("network and rest -1.2 ms")


def test_a_server_that_tells_only_a_total_is_split_in_no_parts(run):
    row = run.summaries[0]
    total = replaced(row, metrics=row.metrics | {"server_rest": told("server_rest", 0.4)})
    assert split_line(total) == "Outside the server's own total (medians): 0.4 ms"


def test_the_split_is_shown_once_a_point_and_explained(run):
    rows = (run.summaries[0], with_split(run.summaries[1]), run.summaries[2])
    split = replaced(run, summaries=rows)
    line = "8 in flight: Server's own split (medians): queue 3.0 ms"
    assert flat(screen(split, store="s", width=100)).count(line) == 1
    assert "own split" not in screen(run, store="s", width=100)
    text = flat(how(split, width=100))
    assert text.count("Server's own split (medians)") == 1
    assert "network and rest: TTFT − the server's load, queue and prefill" in text
    assert "server: queue 100" in text


def test_who_the_server_is_in_plain_words():
    identity = Identity(
        server="vLLM",
        context_tokens=8192,
        slots=1,
        details={
            "colour": "red",
            "tensor_parallel": "2",
            "pipeline_parallel": "1",
            "dtype": "bfloat16",
            "revision": "0123456789abcdef",
            "quantization": "fp8",
            "kv_cache_dtype": "auto",
            "prefix_cache": "off",
            "gpu": "NVIDIA L4",
        },
    )
    assert identity_words(identity) == (
        "context of 8,192 tokens",
        "1 slot",
        "revision 0123456789ab",
        "quantised fp8",
        "computes in bfloat16",
        "tensor parallel 2",
        "prefix cache off",
        "NVIDIA L4",
        "colour red",
    )
    assert identity_words(Identity(server="x")) == ()


def test_how_names_the_cache_the_reasoning_and_the_endpoint(run):
    workload = replaced(run.manifest.workload, reasoning="low")
    manifest = replaced(
        run.manifest,
        workload=workload,
        caching="a salt for each request",
        reset_cache=True,
        endpoint="responses",
    )
    text = flat(how(replaced(run, manifest=manifest), width=100))
    for claim in (
        "Cache cold: a salt for each request.",
        "Reasoning: low, as asked",
        "empty its prefix cache before the warm-up and before each trial",
        "Endpoint: responses.",
        "The server: context of 8,192 tokens, 256 slots, quantised bf16.",
    ):
        assert claim in text, claim
    plain = flat(how(run, width=100))
    assert "Cache cold. " in plain and "Reasoning:" not in plain and "empty its prefix" not in plain
    # The usual endpoint needs no word in the first line, one that was chosen has it.
    assert "endpoint" not in target_line(manifest)
    chosen = replaced(manifest, options={"endpoint": "responses"})
    assert "· endpoint responses ·" in target_line(chosen)


def test_a_first_visible_token_that_nobody_saw_says_what_it_takes(run):
    row = run.summaries[0]
    row = replaced(row, metrics=row.metrics | {"ttfo": replaced(row.metrics["ttft"], n=0, quantiles={})})
    only = replaced(run, manifest=replaced(run.manifest, points=(row.point,)), summaries=(row,))
    assert " takes >128 out " in screen(only, store="s", width=120)
    warned = Warning(
        code="no_visible_answer", level="told", message="no visible answer", advice="ask for more"
    )
    said = replaced(only, summaries=(replaced(row, warnings=(warned,)),))
    # The rule's word stands alone.
    for_it = [line for _, line in warning_lines(said) if "visible" in line or "TTFO" in line]
    assert for_it == ["note: no visible answer → ask for more"]


class Somebody:
    """As much of a driver as says where it runs."""

    def __init__(self, url="", keys=(), launch=False):
        self.default_url, self.key_variables = url, keys
        self.capabilities = Capabilities(
            exact_output=False, cache_off=False, cached_tokens=False, server_timings=False, launch=launch
        )


@pytest.mark.parametrize(
    ("somebody", "kind"),
    [
        (Somebody("http://localhost:8000", ("KEY",)), "self-hosted"),
        (Somebody(launch=True), "self-hosted"),
        (Somebody("https://api.example.com", ("KEY",)), "hosted"),
        (Somebody(keys=("KEY",)), "hosted"),
        (Somebody(), "other"),
    ],
)
def test_backends_are_told_by_where_they_run(somebody, kind):
    assert backend_kind(somebody) == kind


def test_a_group_is_named_once():
    rows = [("b", "1"), ("a", "2"), ("b", "3"), ("a", "4")]
    assert grouped(rows, ("a", "b")) == [("a", "2"), ("", "4"), ("b", "1"), ("", "3")]
    assert grouped([], ("a",)) == []


def test_runs_differ_in_how_their_cache_was_kept(run):
    base = replaced(run.manifest, caching="a salt for each request")
    other = replaced(run.manifest, caching="each prompt is new", reset_cache=True)
    told = {each.name: (each.base, each.other) for each in differs_in(base, other)}
    assert told == {
        "cache": ("a salt for each request", "each prompt is new"),
        "cache emptied": ("–", "before each trial"),
    }
