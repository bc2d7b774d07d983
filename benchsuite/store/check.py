"""Does a run directory hold what it says it holds?"""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchsuite.errors import StoreError
from benchsuite.store.runs import RunDir
from benchsuite.types import Run

if TYPE_CHECKING:
    import pyarrow as pa


def check(run_dir: RunDir) -> list[str]:
    """Everything that is wrong with a stored run, one line each; empty: nothing is.

    Looked at: run.json and plan.json can be read and agree, every trial has a readable file, the
    gaps of a record add up, and the summaries count the same requests as the records.
    """
    problems: list[str] = []
    run = _run(run_dir, problems)
    for path in sorted((run_dir.path / "trials").glob("*.tmp")):
        problems.append(f"{path.name} was never completed; it can be removed")
    tables = _tables(run_dir, problems)
    if run is not None:
        problems += _missing_trials(run, run_dir)
        problems += _miscounted(run, tables)
    return problems


def _run(run_dir: RunDir, problems: list[str]) -> Run | None:
    """The finished run, None if there is none."""
    try:
        planned = run_dir.plan().run_id
        if planned != run_dir.run_id:
            problems.append(f"plan.json belongs to run {planned}; rename the directory to that")
    except StoreError as error:
        problems.append(str(error))
    if run_dir.partial:
        problems.append("the run was not finished: there is no run.json")
        return None
    try:
        run = run_dir.run()
    except StoreError as error:
        problems.append(str(error))
        return None
    if run.manifest.run_id != run_dir.run_id:
        problems.append(f"run.json belongs to run {run.manifest.run_id}; rename the directory to that")
    return run


def _tables(run_dir: RunDir, problems: list[str]) -> dict[tuple[int, int], list["pa.Table"]]:
    """What could be read of each trial (point, trial), only the columns that are looked at."""
    from benchsuite.store.records import read_records

    columns = ["phase", "outcome", "first_token_ns", "last_token_ns", "gaps_us"]
    tables: dict[tuple[int, int], list[pa.Table]] = {}
    for path, place in run_dir.trial_files().items():
        try:
            table = read_records([path], columns)
        except StoreError as error:
            problems.append(str(error))
            continue
        tables.setdefault(place, []).append(table)
        if wrong := _wrong_gaps(table):
            problems.append(f"{path.name}: the gaps of {wrong} records don't add up to last − first token")
    return tables


def _wrong_gaps(table: "pa.Table") -> int:
    """How many records have gaps that miss last − first token by more than 1 µs."""
    wrong = 0
    for batch in table.to_batches():
        columns: Any = {name: batch.column(name) for name in batch.schema.names}
        spans_ns = _int64(columns["last_token_ns"]) - _int64(columns["first_token_ns"])
        ends = np.cumsum(_int64(columns["gaps_us"].value_lengths()))
        sums_us = np.concatenate(([0], np.cumsum(_int64(columns["gaps_us"].flatten()))))
        sums_us = sums_us[ends] - sums_us[np.concatenate(([0], ends[:-1]))]
        wrong += int(np.count_nonzero(np.abs(sums_us * 1000 - spans_ns) > 1000))
    return wrong


def _int64(column: Any) -> NDArray[np.int64]:
    """A column of integers, 0 where it is null."""
    values: NDArray[np.int64] = column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return values


def _missing_trials(run: Run, run_dir: RunDir) -> list[str]:
    """Trials that the manifest knows and no file holds."""
    there = set(run_dir.trial_files().values())
    known = {(trial.point, trial.trial) for trial in run.manifest.trials}
    return [
        f"trial {trial} of point {point} has no records; copy trials/{point}-{trial}.parquet again"
        for point, trial in sorted(known - there)
    ]


def _miscounted(run: Run, tables: dict[tuple[int, int], list["pa.Table"]]) -> list[str]:
    """Points whose summary counts other requests than there are records."""
    from benchsuite.store.records import judged

    counted: dict[int, Counter[str]] = {}
    for (point, trial), parts in tables.items():
        if trial:
            for part in parts:
                outcomes: Any = judged(part).column("outcome").to_pylist()
                counted.setdefault(point, Counter()).update(outcomes)
    problems = []
    for summary in run.summaries:
        point = summary.point.index
        found = counted.get(point, Counter())
        if found.total() != summary.requests:
            problems.append(
                f"point {point}: the summary counts {summary.requests} requests, the records {found.total()}"
            )
        elif found != Counter(summary.outcomes):
            problems.append(f"point {point}: outcomes {summary.outcomes}, but in the records {dict(found)}")
    return problems
