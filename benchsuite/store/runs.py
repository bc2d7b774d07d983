"""Run directories: a plan first, records trial by trial, the summary last.

    <run id>/plan.json                     the manifest as planned; from here on the run can be recovered
    <run id>/trials/<point>-<trial>.parquet    one trial's records (further files: <point>-<trial>.<part>)
    <run id>/run.json                      the finished run; without it the directory is partial
    <run id>/spool/                        answers not decoded yet; gone once the run is finished
    <run id>/batches.json                  how far the batches of a run are that a batch API works on

Trial 0 of a point is all of its warm-ups. A run id is 26 characters that sort by time.
"""

import fcntl
import math
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from benchsuite.errors import StoreError
from benchsuite.types import SCHEMA, Manifest, Noun, Run, Selftest

if TYPE_CHECKING:
    import pyarrow as pa

    from benchsuite.store.records import RecordWriter

_T = TypeVar("_T", bound=Noun)
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_RUN_ID = re.compile(f"[{_CROCKFORD}]{{26}}")
_TRIAL_FILE = re.compile(r"(?P<point>\d+)-(?P<trial>\d+)(?:\.(?P<part>\d+))?\.parquet")
_LATEST = re.compile(r"latest(?:~(\d{1,6}))?")
_LISTED = 5
"""How many runs an ambiguous prefix lists."""


class _Plan(Noun, frozen=True, kw_only=True):
    """What plan.json holds."""

    schema: int = SCHEMA
    manifest: Manifest


class _Wrote(msgspec.Struct):
    """Who wrote a file, read before anything else in it is trusted."""

    schema: int
    manifest: dict[str, Any] = {}


def default_store(explicit: str | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Where runs are kept: `--store`, $BENCHSUITE_STORE, `results/` of a checkout, or the user's data folder.

    A checkout is a working directory with `results/` and a pyproject.toml of the project benchsuite.
    """
    chosen = explicit or environ.get("BENCHSUITE_STORE")
    if chosen:
        return Path(chosen).expanduser()
    here = Path.cwd()
    if (here / "results").is_dir() and _is_checkout(here / "pyproject.toml"):
        return here / "results"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "benchsuite"
    data = Path(environ.get("XDG_DATA_HOME", ""))
    # The XDG specification says that relative paths are to be ignored.
    return (data if data.is_absolute() else Path.home() / ".local" / "share") / "benchsuite"


def new_run_id() -> str:
    """A ULID in lower case: 48 bits of milliseconds since 1970, 80 random bits, Crockford's base 32."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -5, -5))


class RunDir:
    """One run's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"RunDir({self.path.name})"

    @property
    def run_id(self) -> str:
        """The run's id, which is the directory's name."""
        return self.path.name

    @property
    def partial(self) -> bool:
        """The run was never finished: there is no run.json."""
        return not (self.path / "run.json").exists()

    @property
    def waiting(self) -> bool:
        """Its requests were handed to a batch API, and not all of their answers are here yet."""
        return self.partial and (self.path / "batches.json").exists()

    @property
    def live(self) -> bool:
        """Somebody holds the run's lock: it is being measured, or recovered, at this moment."""
        try:
            with (self.path / "lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @property
    def spool_dir(self) -> Path:
        """Where the engine spools (mode 0700); removed when the run is finished."""
        return self.path / "spool"

    def trial_path(self, point: int, trial: int, part: int | None = None) -> Path:
        """Where a trial's records go; trial 0 is the warm-up, `part` tells further files apart."""
        name = f"{point}-{trial}" if part is None else f"{point}-{trial}.{part}"
        return self.path / "trials" / f"{name}.parquet"

    def writer(self, point: int, trial: int, part: int | None = None) -> "RecordWriter":
        """A writer for one trial's records, to be used in a `with`."""
        from benchsuite.store.records import RecordWriter

        return RecordWriter(self.trial_path(point, trial, part))

    def trial_files(self) -> dict[Path, tuple[int, int]]:
        """Complete record files → (point, trial), in that order."""
        found = [
            (int(match["point"]), int(match["trial"]), int(match["part"] or 0), path)
            for path in (self.path / "trials").glob("*.parquet")
            if (match := _TRIAL_FILE.fullmatch(path.name))
        ]
        return {path: (point, trial) for point, trial, _, path in sorted(found)}

    def records(
        self,
        point: int | None = None,
        include_warm_up: bool = False,
        columns: Sequence[str] | None = None,
        only: int | None = None,
    ) -> "pa.Table":
        """Records (of trial `only`) as a table (`columns` None: all), with columns `point` and `trial`.

        Warm-up is trial 0, and what fills the server in each level of a search: the phase says which.
        """
        import pyarrow as pa

        from benchsuite.store.records import judged, placed, read_records

        tables = []
        for path, (its_point, trial) in self.trial_files().items():
            wanted = (trial or include_warm_up) if only is None else trial == only
            if (point is None or point == its_point) and wanted:
                table = read_records([path], columns and [*dict.fromkeys([*columns, "phase"])])
                if trial and not include_warm_up:
                    table = judged(table)
                tables.append(placed(table.select(columns or table.column_names), its_point, trial))
        return pa.concat_tables(tables) if tables else placed(read_records([], columns), 0, 0)

    def plan(self) -> Manifest:
        """The manifest as it was before anything was sent; there for partial runs too."""
        return read_json(self.path / "plan.json", _Plan).manifest

    def run(self) -> Run:
        """The finished run. Raises `StoreError` for one that is partial, damaged or too new."""
        if self.waiting:
            raise StoreError(
                f"run {self.run_id} waits for its batch; "
                f"`benchsuite batch resume {self.run_id}` goes on with it"
            )
        if self.partial:
            raise StoreError(
                f"run {self.run_id} is being measured; look again when it is done"
                if self.live
                else f"run {self.run_id} was cut off; `benchsuite store recover` keeps what was recorded"
            )
        return read_json(self.path / "run.json", Run)

    def reopen(self, manifest: Manifest) -> None:
        """Make the run partial again, with an empty spool; `manifest` takes the place of its plan."""
        write_json(self.path / "plan.json", _Plan(manifest=manifest))
        (self.path / "run.json").unlink(missing_ok=True)
        shutil.rmtree(self.spool_dir, ignore_errors=True)
        # A process that outlived its run may still have written something there.
        self.spool_dir.mkdir(mode=0o700, exist_ok=True)

    def forget(self, point: int, trial: int) -> None:
        """Remove what was recorded of one trial, as of one that was cut off."""
        for path, place in self.trial_files().items():
            if place == (point, trial):
                path.unlink()
                path.with_name(f"{point}-{trial}.json").unlink(missing_ok=True)

    def replan(self, manifest: Manifest) -> None:
        """Write down that the plan has grown, so that what is measured from now on can be recovered."""
        write_json(self.path / "plan.json", _Plan(manifest=manifest))

    def finish(self, run: Run) -> None:
        """Write run.json, which makes the run complete, and remove the spool."""
        write_json(self.path / "run.json", run)
        shutil.rmtree(self.spool_dir, ignore_errors=True)


class Store:
    """A folder of run directories. Nothing is created until something is stored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, manifest: Manifest) -> RunDir:
        """Make the directory of a run that is about to start, its plan written and synced."""
        run_dir = RunDir(self.path / manifest.run_id)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            run_dir.path.mkdir(mode=0o700)
            (run_dir.path / "trials").mkdir()
            run_dir.spool_dir.mkdir(mode=0o700)
            write_json(run_dir.path / "plan.json", _Plan(manifest=manifest))
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return run_dir

    def prepare(self) -> None:
        """Make the folder, and be sure that it can be written, before anything is measured."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def runs(self) -> list[RunDir]:
        """Every run, newest first, partial ones too."""
        if not self.path.is_dir():
            return []
        found = (path for path in self.path.iterdir() if _RUN_ID.fullmatch(path.name))
        known = (path for path in found if (path / "run.json").exists() or (path / "plan.json").exists())
        return [RunDir(path) for path in sorted(known, key=lambda path: path.name, reverse=True)]

    def partial_runs(self) -> list[RunDir]:
        """The runs that were never finished, newest first."""
        return [run_dir for run_dir in self.runs() if run_dir.partial]

    def cut_off_runs(self) -> list[RunDir]:
        """The runs that were never finished and that nobody is measuring any more, newest first."""
        return [run_dir for run_dir in self.partial_runs() if not (run_dir.live or run_dir.waiting)]

    def select(self, selector: str) -> RunDir:
        """The run called `latest` (the newest finished one), or the one whose id starts with `selector`.

        `latest~1` is the finished run before `latest`, and so on. Raises `StoreError` if there is none
        or more than one, saying which there are.
        """
        runs = self.runs()
        if not runs:
            raise StoreError(f"no runs in {self.path} yet; make one with `benchsuite run`, or name a --store")
        if match := _LATEST.fullmatch(selector):
            finished = [run_dir for run_dir in runs if not run_dir.partial]
            back = int(match[1] or 0)
            if not finished:
                raise StoreError(_none_finished(self.path, runs))
            if back >= len(finished):
                count = len(finished)
                raise StoreError(
                    f"no {selector!r}: {self.path} has only {count} finished run{'s' * (count != 1)}"
                )
            return finished[back]
        wanted = selector.lower()
        # The screen shortens ids in the middle, and what it shows can be pasted.
        begin, _, end = wanted.replace("...", "…").partition("…")
        found = [
            each for each in runs if begin and each.run_id.startswith(begin) and each.run_id.endswith(end)
        ]
        if len(found) == 1:
            return found[0]
        listed = ", ".join(run_dir.run_id for run_dir in (found or runs)[:_LISTED])
        more = ", …" if len(found or runs) > _LISTED else ""
        if found:
            raise StoreError(
                f"{len(found)} runs start with {selector!r}: {listed}{more}; give more of the id, or `latest`"
            )
        raise StoreError(f"no run in {self.path} starts with {selector!r}; there are: {listed}{more}")

    def save_selftest(self, selftest: Selftest) -> Path:
        """Keep a selftest; later ones don't overwrite it."""
        folder = self.path / ".selftest"
        path = folder / f"{new_run_id()}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, selftest)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return path

    def latest_selftest(self, machine_id: str) -> Selftest | None:
        """The newest selftest of one machine; files that can't be read are passed over."""
        for path in sorted((self.path / ".selftest").glob("*.json"), reverse=True):
            try:
                selftest = read_json(path, Selftest)
            except StoreError:
                continue
            if selftest.machine_id == machine_id:
                return selftest
        return None


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"can't write to the store {path} ({error.strerror}); choose another with --store")


def _none_finished(path: Path, runs: Sequence[RunDir]) -> str:
    """What to do when every run is partial."""
    none = f"no run in {path} is finished"
    if any(not run_dir.live for run_dir in runs):
        return f"{none}; `benchsuite store recover` keeps what was recorded of those that were cut off"
    return f"{none}: {runs[0].run_id} is being measured; look again when it is done"


def _is_checkout(pyproject: Path) -> bool:
    """Is this the pyproject.toml of benchsuite itself?"""
    try:
        with pyproject.open("rb") as file:
            return bool(tomllib.load(file).get("project", {}).get("name") == "benchsuite")
    except (OSError, tomllib.TOMLDecodeError):
        return False


def write_json(path: Path, value: Noun) -> None:
    """Whole or not at all, even through a power cut."""
    tmp = path.with_name(path.name + ".tmp")
    with tmp.open("wb") as file:
        file.write(as_json(value))
        file.flush()
        os.fsync(file.fileno())
    tmp.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def as_json(value: Any) -> bytes:
    """A noun, or several, as indented JSON (UTF-8) that ends with a line feed."""
    text = msgspec.json.encode(_infinities_as_words(msgspec.to_builtins(value)))
    return msgspec.json.format(text, indent=1) + b"\n"


def _one_cache_updated(run: dict[str, Any]) -> dict[str, Any]:
    """A run from when a workload had one cache mode, which is now that of each of its points."""
    manifest = run["manifest"]
    mode = manifest["workload"]["cache"]
    manifest["workload"]["cache"] = [mode]
    for point in (*manifest["points"], *(row["point"] for row in run.get("summaries", ()))):
        point["cache"] = mode
    return run


def _infinities_as_words(value: Any) -> Any:
    """JSON has no infinity and a null would turn an offline load into a closed loop: it is written "inf"."""
    if isinstance(value, dict):
        return {key: _infinities_as_words(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_infinities_as_words(inner) for inner in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def read_json(path: Path, kind: type[_T]) -> _T:
    """A stored value, its schema checked before its fields."""
    try:
        text = path.read_bytes()
        wrote = msgspec.json.decode(text, type=_Wrote)
        if wrote.schema > SCHEMA:
            version = wrote.manifest.get("version")
            needed = f"benchsuite {version} or newer" if version else "a newer benchsuite"
            raise StoreError(
                f"{path} has store schema {wrote.schema}, this one reads up to {SCHEMA}: it takes {needed}"
            )
        # Not strict: "inf" has to become a float again.
        if isinstance(wrote.manifest.get("workload", {}).get("cache"), str):
            return msgspec.convert(_one_cache_updated(msgspec.json.decode(text)), type=kind, strict=False)
        return msgspec.json.decode(text, type=kind, strict=False)
    except OSError as error:
        raise StoreError(f"can't read {path} ({error.strerror}); copy the run again") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} is damaged ({error}); copy the run again, or remove it") from error
