"""What a workload's files hold: read once, before anything is started."""

import json
from importlib.resources import files
from pathlib import Path

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Workload
from benchsuite.workload import schema
from benchsuite.workload.draw import Material


def found_again(workload: Workload, path: str = "") -> Material:
    """What a stored workload's dataset holds: of the file at `path`, which has to be the same one.

    Without a path it is one that ships, or nothing: where others lie isn't stored.
    """
    source = workload.dataset
    if source is None:
        return Material()
    from benchsuite.workload import datasets
    from benchsuite.workload.datasets.language import named

    shipped = Path(str(files("benchsuite_workloads"))) / source.file
    if not path and not shipped.is_file():
        return Material()
    again = msgspec.structs.replace(source, file=named(path).file if path else str(shipped))
    try:
        items = datasets.read(again, Path(), answers=workload.check is not None)[1]
    except UsageError:
        # A file of our own by the same name is another one, or of another version.
        if path:
            raise
        return Material()
    return Material(items=items)


def opened(workload: Workload, folder: Path) -> tuple[Workload, Material]:
    """The workload with the facts of its files, and what these hold; paths count from `folder`.

    A file that can't be read, or isn't what it should be, is a UsageError that names it and the line.
    """
    material, workload = Material(), _with_json(workload, folder)
    if workload.dataset is not None:
        from benchsuite.workload import datasets
        from benchsuite.workload.datasets import language

        source, items = datasets.read(workload.dataset, folder, answers=workload.check is not None)
        workload = language.opened(workload, source, items)
        material = msgspec.structs.replace(material, items=items)
    if workload.trace is not None:
        from benchsuite.workload import traces

        workload, rows = traces.opened(workload, folder)
        material = msgspec.structs.replace(material, rows=rows)
    return workload, material


def _with_json(workload: Workload, folder: Path) -> Workload:
    """The workload with the JSON itself where it names files of it."""
    named = {name: text for name in _IN_FILES if (text := getattr(workload, name)).endswith(".json")}
    changes = {
        name: schema.read(name, json_file(folder / file, schema.place(name)), schema.place(name))
        for name, file in named.items()
    }
    if workload.check is not None and workload.check.json_schema.endswith(".json"):
        found = json_file(folder / workload.check.json_schema, "[check] schema")
        text = schema.read("json_schema", found, "[check] schema")
        changes["check"] = msgspec.structs.replace(workload.check, json_schema=text)
    return msgspec.structs.replace(workload, **changes) if changes else workload


_IN_FILES = ("json_schema", "tools", "extra")


def json_file(path: Path, what: str) -> object:
    """The JSON value of a file; a UsageError that begins with `what` says why there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{what}: can't read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{what}: {path.name} isn't JSON: {error}") from None
