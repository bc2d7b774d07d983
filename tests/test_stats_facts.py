"""From records to the facts that rules on servers rest on, and from a manifest to what conditions them."""

from types import SimpleNamespace

import msgspec
import pyarrow as pa
import pytest

import benchsuite.conclude
from benchsuite.conclude import conclude
from benchsuite.driver import Capabilities
from benchsuite.stats import Conditions, summarise_all
from benchsuite.store.records import table_of
from benchsuite.store.runs import Store
from benchsuite.testing import record
from benchsuite.types import Identity, Lengths, Machine, Manifest, Point, Workload

MS = 1_000_000
POINT = Point(index=0, prompt_tokens=100, output_tokens=5, concurrency=1)
WORKLOAD = Workload(name="w", version=1, description="", prompt_tokens=(100,), output_tokens=(5,))
FITTED = Lengths(words=("a",), overhead=8, source="usage")


def answered(turn, **changes):
    """One of a closed loop of one: first token after 50 ms, end after 100."""
    at = {"due_ns": 0, "sent_ns": 0, "first_token_ns": 50, "first_output_ns": 50, "last_token_ns": 90}
    instants = {name: (1 + 100 * turn + later) * MS for name, later in (at | {"end_ns": 100}).items()}
    known = dict(gaps_us=[10_000] * 4, reads=5, prompt_tokens=100, output_tokens=5, cached_tokens=0)
    return record(**instants | known | changes)


def refused(turn, **changes):
    nothing = dict.fromkeys(
        (
            "first_token_ns",
            "first_output_ns",
            "last_token_ns",
            "prompt_tokens",
            "output_tokens",
            "cached_tokens",
        )
    )
    outcome = {"outcome": "http_error", "error_kind": "rate_limited", "gaps_us": [], "reads": 0}
    return answered(turn, **nothing | outcome | changes)


def judged(records, **conditions):
    known = dict(workload=WORKLOAD, capabilities_exact_output=True, identity_slots=None, lengths=FITTED)
    table = table_of(records).append_column("trial", pa.array([1] * len(records), pa.int32()))
    (found,) = summarise_all([(POINT, table, [])], Conditions(**known | conditions))
    return {warning.code: warning for warning in found.warnings}


def in_turn(**changes):
    return [answered(turn, **changes) for turn in range(20)]


# ---------------------------------------------------------------- cut prompts


def test_requests_with_too_few_prompt_tokens_are_counted():
    few = [answered(turn, prompt_tokens=60 if turn < 3 else 100) for turn in range(20)]
    found = judged(few, context_tokens=2048)["prompt_cut"]
    assert found.facts == {"requests": 3, "least": 60, "asked": 100}
    assert "it says 2,048" in found.advice
    # Two tokens may be a template's whim.
    assert "prompt_cut" not in judged(in_turn(prompt_tokens=98))
    assert judged(in_turn(prompt_tokens=97))["prompt_cut"].facts["requests"] == 20


@pytest.mark.parametrize(
    "conditions",
    [
        {"lengths": msgspec.structs.replace(FITTED, source="assumed")},
        {"lengths": None},
        {"workload": msgspec.structs.replace(WORKLOAD, same="text")},
    ],
)
def test_where_lengths_are_a_guess_nothing_was_cut(conditions):
    assert "prompt_cut" not in judged(in_turn(prompt_tokens=60), **conditions)


def test_failed_requests_were_not_cut():
    records = [*in_turn(), *(refused(20 + turn, prompt_tokens=5) for turn in range(3))]
    assert "prompt_cut" not in judged(records)


# ---------------------------------------------------------------- answers that nobody saw


def test_answers_that_are_all_reasoning():
    thought = dict(first_output_ns=None, streamed_reasoning=True)
    assert judged(in_turn(**thought))["no_visible_answer"].facts == {"answers": 20}
    some = [answered(turn, **thought if turn < 4 else {}) for turn in range(20)]
    assert judged(some)["no_visible_answer"].facts == {"answers": 4}
    # Visible in the end, or never streamed but counted.
    assert "no_visible_answer" not in judged(in_turn(streamed_reasoning=True))
    hidden = dict(
        first_token_ns=None, first_output_ns=None, last_token_ns=None, gaps_us=[], reads=0, reasoning_tokens=5
    )
    assert "no_visible_answer" in judged(in_turn(**hidden))
    # A whole answer has no events, and four of its five tokens can be seen.
    assert "no_visible_answer" not in judged(in_turn(**hidden | {"reasoning_tokens": 1}))
    # A tool call is no output, but no reasoning either.
    assert "no_visible_answer" not in judged(in_turn(first_output_ns=None))


# ---------------------------------------------------------------- refusals


def test_a_rate_limit_is_read_out_of_what_was_answered():
    # Each second answer is a refusal: of ten requests a second five are answered.
    records = [answered(turn) if turn % 2 else refused(turn, retry_after_s=1.0 + turn) for turn in range(40)]
    found = judged(records)["errors"]
    assert found.message.startswith("429: 20 of 40 requests; the server allows about 4.9 req/s")
    assert "--rate 4.4;" in found.advice and "for 39 s (Retry-After)" in found.advice


# ---------------------------------------------------------------- from the manifest


def manifest(**changes):
    known = dict(
        run_id=f"01{1:024}",
        started="2026-11-23T12:00:00Z",
        version="0.1.0",
        command="run",
        backend="somebody",
        url="http://127.0.0.1:1",
        model="m",
        attached=True,
        identity=Identity(server="somebody", slots=2),
        workload=WORKLOAD,
        workload_digest="d",
        seed=0,
        nonce="n",
        lengths=FITTED,
        points=(POINT,),
        workers=1,
        machine=Machine(id="a", os="", cpu="", cores=2, memory_gib=8.0, python="3.11"),
    )
    return Manifest(**known | changes)


@pytest.fixture
def concluded(tmp_path, monkeypatch):
    """`concluded(records, manifest…)`: a run's warnings; such servers have two slots."""
    capabilities = Capabilities(
        exact_output=False,
        cache_off=False,
        cached_tokens=False,
        server_timings=False,
        launch=False,
        default_slots=2,
    )
    monkeypatch.setattr(benchsuite.conclude, "load", lambda *_: SimpleNamespace(capabilities=capabilities))

    def conclude_it(records, **changes):
        run_dir = Store(tmp_path / "store").create(manifest(**changes))
        with run_dir.writer(0, 1) as writer:
            for one in records:
                writer.write(one)
        run = conclude(run_dir, run_dir.plan(), "finished")
        run_dir.path.rename(tmp_path / f"done-{len(list(tmp_path.iterdir()))}")
        return {warning.code: warning.message + warning.advice for warning in run.summaries[0].warnings}

    return conclude_it


def test_what_keeps_a_cache_cold_comes_from_the_manifest(concluded):
    said = concluded(in_turn(cached_tokens=None), caching="each prompt has a salt")["cache_cold"]
    assert "unknown, not 0" in said and "each prompt has a salt" in said


def test_only_slots_that_such_servers_have_are_assumed(concluded):
    at_once = [answered(0) for _ in range(20)]
    assert "unless they were started for more" in concluded(at_once)["over_slots"]
    for known in ({"attached": False}, {"identity": Identity(server="somebody", slots=3)}):
        assert "which has" in concluded(at_once, **known)["over_slots"]
    assert "over_slots" not in concluded(at_once, identity=Identity(server="somebody"))


def test_the_context_that_the_server_tells_is_in_the_advice(concluded):
    told = Identity(server="somebody", context_tokens=512)
    assert "it says 512" in concluded(in_turn(prompt_tokens=60), identity=told)["prompt_cut"]
