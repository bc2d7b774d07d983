"""Stored runs as a list, and the other tables of a few words."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from benchsuite.driver import BatchApi, Driver, HasMetrics, LoadsModels, ResetsCache, Setting, Tokenizes
from benchsuite.errors import StoreError
from benchsuite.observed import doors_of
from benchsuite.report.points import Column, quantile
from benchsuite.report.render import listing, table
from benchsuite.report.screen import short_model, workload_name
from benchsuite.report.units import NOTHING, error_ms, rounded
from benchsuite.store.runs import RunDir
from benchsuite.types import Noun, Run, Selftest

_NAMED = 3
"""How many unfinished runs are named."""


class Overview(Noun, frozen=True, kw_only=True):
    """A run in one row. `ttft_p50_ms` of the lightest point, `output_tokens_per_s` of the fastest."""

    run_id: str
    started: str
    backend: str
    server: str
    model: str
    workload: str
    gpu: str
    points: int
    ttft_p50_ms: float | None
    output_tokens_per_s: float | None
    status: str
    verdict: str
    labels: dict[str, str]


def overview(run: Run) -> Overview:
    """What a list says of a run."""
    manifest, rows = run.manifest, run.summaries
    ttft = next((found for row in rows if (found := quantile(row, "ttft", "p50"))), None)
    speeds = [row.rates["output_tokens_per_s"].value for row in rows if "output_tokens_per_s" in row.rates]
    return Overview(
        run_id=manifest.run_id,
        started=manifest.started,
        backend=manifest.backend,
        server=f"{manifest.identity.server} {manifest.identity.version}".strip(),
        model=short_model(manifest),
        workload=workload_name(manifest),
        gpu=manifest.gpu,
        points=len(rows),
        ttft_p50_ms=ttft.value if ttft else None,
        output_tokens_per_s=max((speed for speed in speeds if speed is not None), default=None),
        status=run.status,
        verdict=run.verdict,
        labels=manifest.labels,
    )


def matches(row: Overview, where: Iterable[tuple[str, str]]) -> bool:
    """Does the run have all these? `workload=chat` means any version, changed or not."""
    return all(_matches(row, key, value) for key, value in where)


def _matches(row: Overview, key: str, value: str) -> bool:
    if key == "workload":
        name = row.workload.partition(" ")[0]
        return value in (name, name.partition("@")[0])
    if key in {"backend", "model", "verdict", "gpu", "status"}:
        return bool(getattr(row, key) == value)
    return row.labels.get(key) == value


def run_table(rows: Sequence[Overview], *, width: int, styled: bool = False) -> str:
    """Stored runs; the id is shortened as far as it stays unique in this list."""
    length = _unique_length([row.run_id for row in rows])
    years = {row.started[:4] for row in rows}
    # A year that all have in common stands above them, and leaves room for the backend.
    when, begin = (f"{min(years)} (UTC)", 5) if len(years) == 1 else ("when (UTC)", 0)

    def column(
        heading: str,
        cell: Callable[[Overview], str],
        *,
        left: bool = True,
        whole: bool = False,
        drop: int = 0,
    ) -> Column:
        cells = tuple(cell(row) for row in rows)
        return Column(heading=(heading,), cells=cells, left=left, whole=whole, drop=drop)

    columns = [
        column("run", lambda row: row.run_id[:length], whole=True),
        column(when, lambda row: row.started[begin:16].replace("T", " "), whole=True),
        column("backend", lambda row: row.backend, whole=True, drop=3),
        column("model", lambda row: row.model),
        column("workload", lambda row: row.workload),
        column("TTFT p50", _ttft, left=False, drop=2),
        column("tok/s", _speed, left=False, drop=1),
        column("verdict", _verdict, whole=True),
    ]
    if any(row.labels for row in rows):
        columns.append(column("labels", lambda row: " ".join(f"{k}={v}" for k, v in row.labels.items())))
    return table(columns, width=width, styled=styled)


def _ttft(row: Overview) -> str:
    return NOTHING if row.ttft_p50_ms is None else f"{rounded(row.ttft_p50_ms)} ms"


def _speed(row: Overview) -> str:
    return NOTHING if row.output_tokens_per_s is None else rounded(row.output_tokens_per_s)


def _verdict(row: Overview) -> str:
    return row.verdict if row.status == "finished" else f"{row.verdict}, {row.status}"


def _unique_length(ids: Sequence[str]) -> int:
    """Characters of an id that tell these runs apart: the time alone for runs far enough apart."""
    length = 10
    while length < 26 and len({run_id[:length] for run_id in ids}) < len(ids):
        length += 1
    return length


_RECOVER: Final = "`benchsuite store recover`"
_SEARCHES: Final = ("capacity search was cut off", "capacity searches were cut off")


def unfinished_lines(runs: Sequence[RunDir]) -> Iterator[str]:
    """What to know of runs without a result: which are being measured, wait for a batch, were cut off."""
    live = [run_dir.run_id for run_dir in runs if run_dir.live]
    waiting = [run_dir.run_id for run_dir in runs if run_dir.waiting and run_dir.run_id not in live]
    dead = [run_dir for run_dir in runs if run_dir.run_id not in {*live, *waiting}]
    searches = [run_dir.run_id for run_dir in dead if _is_search(run_dir)]
    cut_off = [run_dir.run_id for run_dir in dead if run_dir.run_id not in searches]
    for ids, one, many, advice in (
        (live, "run is being measured", "runs are being measured", ""),
        (
            waiting,
            "run waits for its batch",
            "runs wait for their batches",
            "`benchsuite batch resume` goes on",
        ),
        (
            cut_off,
            "run was cut off",
            "runs were cut off",
            f"{_RECOVER} keeps what was recorded, --resume goes on",
        ),
        (searches, *_SEARCHES, f"{_RECOVER} keeps the loads that were tried; a search begins anew"),
    ):
        if ids:
            count = f"1 {one}" if len(ids) == 1 else f"{len(ids)} {many}"
            names = f"{', '.join(ids[:_NAMED])}{', …' if len(ids) > _NAMED else ''}"
            yield f"{count} ({names}){f': {advice}' if advice else ''}."


def _is_search(run_dir: RunDir) -> bool:
    """Was it a capacity search? A plan that can't be read says nothing."""
    try:
        return run_dir.plan().capacity
    except StoreError:
        return False


KINDS: Final = ("self-hosted", "hosted", "other")
"""Where backends run, in the order of telling."""


def backend_kind(found: Driver) -> str:
    """One of `KINDS`: on a machine of one's own, at somebody who wants a key, or wherever its URL says."""
    if found.capabilities.launch or found.default_url.startswith("http://"):
        return "self-hosted"
    return "hosted" if found.default_url or found.key_variables else "other"


def grouped(rows: Iterable[Sequence[str]], order: Sequence[str]) -> list[Sequence[str]]:
    """Rows sorted by their first cell as `order` has it, which only the first of a group keeps."""
    ordered = sorted(rows, key=lambda row: order.index(row[0]))
    firsts = {row[0]: index for index, row in reversed(list(enumerate(ordered)))}
    return [row if firsts[row[0]] == index else ("", *row[1:]) for index, row in enumerate(ordered)]


def capability_rows(found: Driver) -> tuple[tuple[str, str], ...]:
    """What a backend can do: words, and yes, no or more."""
    can = found.capabilities
    passed = {word: _at_doors(doors, can.endpoints) for word, doors in doors_of(found).items()}
    facts = (
        ("benchsuite can start it", can.launch),
        ("loads models before the clock, downloads them with --pull", isinstance(found, LoadsModels)),
        ("answers of exactly the asked length", can.exact_output),
        ("prefix cache can be switched off per request", can.cache_off),
        ("prefix cache can be emptied", isinstance(found, ResetsCache)),
        ("reports cached tokens", can.cached_tokens),
        ("sampling parameters", can.sampling),
        ("prompts as token ids", can.token_ids),
        ("counts tokens by itself", isinstance(found, Tokenizes)),
        ("reasoning effort", can.reasoning),
        ("JSON schema of the answer", passed["json_schema"]),
        ("tools", passed["tools"]),
        ("images", passed["images"]),
        ("answers in one piece", passed["stream_off"]),
        ("reports its own timings", can.server_timings),
        ("metrics for Prometheus", isinstance(found, HasMetrics)),
        ("batch API", isinstance(found, BatchApi)),
        ("endpoints", ", ".join(can.endpoints)),
    )
    return tuple(
        (text, value if isinstance(value, str) else "yes" if value else "no") for text, value in facts
    )


def _at_doors(doors: tuple[str, ...], endpoints: tuple[str, ...]) -> str:
    """Yes at all of them, no at none, else at which."""
    return "yes" if doors == endpoints else ", ".join(doors) or "no"


def option_rows(found: Driver) -> tuple[tuple[str, str], ...]:
    """What `--option` understands; the endpoint has a flag of its own."""
    return tuple((name, text) for name, text in found.options.items() if name != "endpoint")


def setting_rows(settings: Mapping[str, Setting]) -> tuple[tuple[str, str], ...]:
    """What `--engine` understands: each setting's name, and what it means with the values that it has."""
    return tuple((name, f"{setting.help}{_values(setting)}") for name, setting in settings.items())


def _values(setting: Setting) -> str:
    return "" if "*" in setting.arguments else f" ({' or '.join(setting.arguments)})"


def selftest_table(selftest: Selftest, *, width: int, styled: bool = False) -> str:
    """A selftest's levels, all errors in ms."""
    headings = (
        "load",
        "TTFT error\np50",
        "TTFT error\np99",
        "ITL error\np99",
        "send lag\np99",
        "merged\nreads",
        "sent\nreq/s",
        "simulator\nlate p99",
    )
    rows = [
        (
            level.load,
            f"{error_ms(level.ttft_error_p50_ms)} ms",
            f"{error_ms(level.ttft_error_p99_ms)} ms",
            f"{error_ms(level.itl_error_p99_ms)} ms",
            f"{error_ms(level.send_lag_p99_ms)} ms",
            f"{rounded(100 * level.coalesced_share, digits=2)} %",
            NOTHING if level.rate is None else rounded(level.achieved_rate),
            f"{error_ms(level.simulator_lateness_p99_ms)} ms",
        )
        for level in selftest.levels
    ]
    return listing(headings, rows, width=width, styled=styled, right=headings[1:])
