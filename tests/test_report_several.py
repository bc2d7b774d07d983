"""Several runs in one table: what tells them apart, what is said once, and what to type next."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from benchsuite.report.several import merged_columns, names_of, several_screen
from benchsuite.store.runs import new_run_id
from benchsuite.types import Identity, Run, Warning

CHAT = Path(__file__).parent / "report" / "chat.json"
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def run(server="vLLM", model="org/a", url="", **changes):
    found = msgspec.json.decode(CHAT.read_bytes(), type=Run)
    manifest = msgspec.structs.replace(
        found.manifest,
        run_id=changes.pop("run_id", new_run_id()),
        identity=Identity(server=server, version="1.0"),
        model=model,
        url=url,
    )
    return msgspec.structs.replace(found, manifest=manifest, **changes)


def shown(*runs, width=100):
    return several_screen(runs, store="~/store", width=width, now=NOW)


@pytest.mark.parametrize(
    ("runs", "heading", "names"),
    [
        ([("vLLM", "org/a", ""), ("vLLM", "org/b", "")], "model", ["a", "b"]),
        ([("vLLM", "a", ""), ("MLX", "a", "")], "server", ["vLLM", "MLX"]),
        ([("vLLM", "a", ""), ("MLX", "b", "")], "server", ["vLLM", "MLX"]),
        ([("vLLM", "a", ""), ("vLLM", "b", ""), ("MLX", "a", "")], "target", ["vLLM a", "vLLM b", "MLX a"]),
        ([("vLLM", "a", "http://h:1"), ("vLLM", "a", "http://h:2")], "address", ["h:1", "h:2"]),
        ([("vLLM", "a", ""), ("vLLM", "a", "")], "target", ["1 vLLM a", "2 vLLM a"]),
    ],
)
def test_runs_are_named_by_what_they_differ_in(runs, heading, names):
    assert names_of([run(*each) for each in runs]) == (heading, names)


def test_one_table_has_every_point_of_every_run_under_its_name():
    first, second = run("vLLM"), run("MLX")
    columns = {column.title: column for column in merged_columns([first, second])}
    points = len(first.summaries)
    assert columns["server"].cells == ("vLLM",) * points + ("MLX",) * points
    assert {len(column.cells) for column in columns.values()} == {2 * points}
    titles = list(columns)
    assert (titles[0], titles[-1]) == ("server", "verdict")


def test_a_run_with_fewer_points_leaves_no_hole_in_the_table():
    whole = run("vLLM")
    cut = run("MLX", summaries=whole.summaries[:1], status="interrupted")
    columns = {column.title: column.cells for column in merged_columns([cut, whole])}
    assert columns["in flight"] == ("1", "1", "8", "64")
    assert columns["server"] == ("MLX", "vLLM", "vLLM", "vLLM")


def test_ids_are_whole_enough_to_copy_and_the_next_command_is_there():
    runs = [run("vLLM", run_id="01kaaaaaaa" + "0" * 16), run("MLX", run_id="01kbbbbbbb" + "0" * 16)]
    lines = shown(*runs).splitlines()
    assert lines[-2:] == [
        " Runs 01kaaaaaaa (vLLM), 01kbbbbbbb (MLX) kept in ~/store",
        " Is the difference real? benchsuite compare 01kaaaaaaa 01kbbbbbbb",
    ]


def test_only_runs_that_can_be_compared_are_offered_for_it():
    fit = [run("vLLM", run_id="01kaaaaaaa" + "0" * 16), run("MLX", run_id="01kbbbbbbb" + "0" * 16)]
    unfit = run("sim", run_id="01kccccccc" + "0" * 16, verdict="invalid")
    assert shown(*fit, unfit).splitlines()[-1].endswith("compare 01kaaaaaaa 01kbbbbbbb")
    cut = msgspec.structs.replace(fit[1], status="interrupted")
    assert shown(fit[0], cut).splitlines()[-1].endswith("benchsuite show 01kbbbbbbb --how")


def test_what_holds_for_all_is_said_once_and_the_rest_by_name():
    told = Warning(code="a", level="told", message="all have this", advice="")
    own = Warning(code="b", level="invalid", message="one has this", advice="do that")
    plain = msgspec.json.decode(CHAT.read_bytes(), type=Run).summaries[:1]
    plain = (msgspec.structs.replace(plain[0], warnings=(told,)),)
    more = (msgspec.structs.replace(plain[0], warnings=(told, own)),)
    text = shown(run("vLLM", summaries=plain), run("MLX", summaries=more))
    assert text.count("all have this") == 1 and "\n note: all have this" in text
    assert "\n MLX: invalid: one has this → do that" in text
    assert text.index("one has this") < text.index("all have this"), "the worst goes first"


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("count", [2, 3])
def test_it_fits_its_width_and_says_who_where_and_how_fast(width, count):
    servers = ("vLLM", "MLX", "llama.cpp")[:count]
    text = shown(*(run(server) for server in servers), width=width)
    assert max(map(len, text.splitlines())) <= width
    for server in servers:
        assert f"{server} 1.0 started here" in text or f"{server} 1.0 at" in text
        assert f"on {server} 1.0: first token after" in " ".join(text.split())
    assert text.count("This machine's own error") == 1
