"""Gates of runs with failed requests: a limit on them is judged, and nothing else is."""

from pathlib import Path

import msgspec
import pytest

from benchsuite.errors import InvalidMeasurement
from benchsuite.gate.decide import Gate, TooFew, concluded, of_too_few
from benchsuite.gate.limits import parse_limits
from benchsuite.pairs import Arm
from benchsuite.report.gate import gate_screen, sentence
from benchsuite.store.runs import RunDir, as_json
from benchsuite.types import Decision, Run, Warning

CHAT = Path(__file__).parent / "report" / "chat.json"


def run_with(failed, n=300, *codes, kept=1):
    """A run of which so many requests failed, invalid for that and for `codes`; `kept` points."""
    known = msgspec.json.decode(CHAT.read_bytes(), type=Run)
    text = f"{failed} of {n} requests failed (500)" if failed < n else "no request was answered"
    found = tuple(
        Warning(code=code, level="invalid", message=text, advice="look at the log")
        for code in (("errors" if failed < n else "no_answers"), *codes)
    )
    rows = tuple(
        msgspec.structs.replace(
            row,
            requests=n,
            outcomes={"ok": n - failed, "http_error": failed},
            verdict="invalid",
            warnings=found,
        )
        for row in known.summaries[:kept]
    )
    manifest = msgspec.structs.replace(known.manifest, points=known.manifest.points[:kept])
    return msgspec.structs.replace(known, manifest=manifest, summaries=rows, verdict="invalid")


def asked(*words):
    return Gate(limits=parse_limits(words))


@pytest.mark.parametrize(
    ("failed", "limit", "verdict"),
    [(12, "error_rate<1%", "fail"), (12, "error_rate<10%", "pass"), (300, "error_rate<1%", "fail")],
)
def test_a_limit_on_errors_is_judged_where_they_alone_make_the_run_invalid(failed, limit, verdict):
    found = concluded(asked(limit), run_with(failed))
    assert found.verdict == verdict
    said = " ".join(gate_screen(found, width=100).split())
    assert limit in said and "of how long answers took" in said and "invalid" in said
    if verdict == "fail":
        assert f"{limit} is broken" in sentence(found)


def test_nothing_else_is_judged_of_such_a_run():
    timed = "ttft_p50<1ms"
    found = concluded(asked("error_rate<1%", timed), run_with(12))
    assert found.verdict == "fail" and timed not in sentence(found)
    assert [(row.limit.text, row.verdict) for row in found.checked] == [
        ("error_rate<1%", "fail"),
        (timed, "undecided"),
    ]
    # A number that can't be trusted isn't shown.
    assert found.checked[1].estimate.value is None
    line = next(line for line in gate_screen(found, width=100).splitlines() if timed in line)
    assert line.split()[-3:] == ["–", "–", "undecided"]
    # The errors kept their limit; of the other one this run can't say anything.
    with pytest.raises(InvalidMeasurement, match=r"12 of 300 requests failed.*error_rate<10% is kept"):
        concluded(asked("error_rate<10%", timed), run_with(12))
    with pytest.raises(InvalidMeasurement, match="12 of 300 requests failed"):
        concluded(asked(timed), run_with(12))


def test_a_history_or_a_base_isnt_judged_either():
    with pytest.raises(InvalidMeasurement, match="error_rate<10% is kept"):
        concluded(asked("error_rate<10%"), run_with(12), aged=None)
    assert concluded(asked("error_rate<1%"), run_with(12), aged=None).verdict == "fail"
    decision = Decision(
        verdict="pass", pairs=4, tolerance=0.02, limit=0.1, fail_on="tolerance", looks=(4, 8, 12), judged=()
    )
    other = msgspec.structs.replace(run_with(12), decision=decision)
    base = msgspec.structs.replace(run_with(0), verdict="valid")
    found = concluded(asked("error_rate<1%"), other, base)
    assert found.verdict == "fail" and found.decision is None
    with pytest.raises(InvalidMeasurement):
        concluded(asked("error_rate<10%"), other, base)
    # What is wrong with the base isn't of the build under test.
    with pytest.raises(InvalidMeasurement, match="requests failed"):
        concluded(asked("error_rate<1%"), base, other)


def test_another_reason_beside_the_errors_leaves_the_run_invalid():
    for limit in ("error_rate<1%", "error_rate<10%"):
        with pytest.raises(InvalidMeasurement):
            concluded(asked(limit), run_with(12, 300, "send_lag"))
        with pytest.raises(InvalidMeasurement):
            concluded(asked(limit), run_with(0, 0))


def test_what_a_failing_server_causes_besides_speaks_for_no_other_verdict():
    # Fast answers leave slots empty, and a prompt's length can't be found where each question fails.
    codes = ("delivered", "prompt_tokens")
    assert concluded(asked("error_rate<1%"), run_with(12, 300, *codes)).verdict == "fail"
    with pytest.raises(InvalidMeasurement, match="more is wrong than failed requests"):
        concluded(asked("error_rate<10%"), run_with(12, 300, *codes))


def look_at(tmp_path, base, other):
    """A look that found too few answers in what is stored as these runs."""
    arms = []
    for name, found in (("base", base), ("other", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_bytes(as_json(found))
        arms.append(Arm(run_dir=RunDir(tmp_path / name), manifest=found.manifest))
    return TooFew("ttft_p50 has no value in a trial", (arms[0], arms[1]))


def test_a_look_that_says_nothing_fails_where_too_many_requests_failed(tmp_path):
    sound = msgspec.structs.replace(run_with(0), verdict="valid")
    few = look_at(tmp_path, sound, run_with(300))
    found = of_too_few(asked("error_rate<1%"), few)
    assert found.verdict == "fail" and found.decision is None
    # Without a limit on them, or within it, what is wrong with the run is said.
    with pytest.raises(InvalidMeasurement, match="is invalid: no request was answered"):
        of_too_few(asked(), few)
    (tmp_path / "fewer").mkdir()
    with pytest.raises(InvalidMeasurement, match="is invalid: 12 of 300 requests failed"):
        of_too_few(asked("error_rate<10%"), look_at(tmp_path / "fewer", sound, run_with(12)))


def test_a_look_that_says_nothing_of_sound_runs_or_beside_a_broken_base_decides_nothing(tmp_path):
    sound = msgspec.structs.replace(run_with(0), verdict="valid")
    (tmp_path / "sound").mkdir()
    with pytest.raises(InvalidMeasurement, match="no value in a trial"):
        of_too_few(asked("error_rate<1%"), look_at(tmp_path / "sound", sound, sound))
    (tmp_path / "broken").mkdir()
    with pytest.raises(InvalidMeasurement, match="no request was answered"):
        of_too_few(asked("error_rate<1%"), look_at(tmp_path / "broken", run_with(300), run_with(300)))
