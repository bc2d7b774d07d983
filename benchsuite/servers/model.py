"""Models made on the spot, in the form that an engine needs, kept in the user's cache.

A small shape comes with random weights: a GGUF file, or a Hugging Face directory of the same
numbers. A published shape comes as a directory without weights, for engines that make up their own.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from benchsuite.driver import ModelForm
from benchsuite.errors import TargetError, UsageError
from benchsuite.servers import checkpoint, gguf_file, shapes
from benchsuite.servers.shapes import CONTEXT_TOKENS, SHAPES, is_dummy, shape_facts

__all__ = [
    "CONTEXT_TOKENS",
    "SHAPES",
    "cache_folder",
    "is_dummy",
    "make_model",
    "model_path",
    "shape_facts",
]


def cache_folder() -> Path:
    """Where made models are kept: `$BENCHSUITE_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("BENCHSUITE_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "benchsuite"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "benchsuite"


def model_path(shape: str, form: ModelForm = "gguf", cache_dir: Path | None = None) -> Path:
    """Where `make_model` keeps this shape in this form, whether or not it is there yet.

    UsageError: no such shape, or a GGUF file of one without weights.
    """
    folder = cache_dir or cache_folder()
    dummy = is_dummy(shape)
    if form != "gguf":
        return folder / f"benchsuite-{shape}-{form}-v{checkpoint.FORMAT}"
    if dummy:
        ours = ", ".join(f"shape:{name}" for name in SHAPES if not is_dummy(name))
        raise UsageError(
            f"shape:{shape} has no weights, and this engine needs them: use an engine that makes "
            f"them up (--backend vllm), or one of {ours}"
        )
    return folder / f"benchsuite-{shape}-q8_0-v{gguf_file.FORMAT}.gguf"


def make_model(shape: str, form: ModelForm = "gguf", cache_dir: Path | None = None) -> Path:
    """Path of the shape's GGUF file or Hugging Face directory, made if it isn't in the cache yet.

    It appears under its name only when it is complete; processes that make it at the same time
    write the same bytes. UsageError: as `model_path`; TargetError: it can't be written.
    """
    path = model_path(shape, form, cache_dir)
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            _write(unfinished / path.name, shape, form)
            _put(unfinished / path.name, path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        advice = "free some space or point BENCHSUITE_CACHE at another folder"
        raise TargetError(
            f"can't write the model to its cache: {error.strerror or error}; {advice}"
        ) from error
    return path


def _write(path: Path, name: str, form: ModelForm) -> None:
    shape = shapes.find(name)
    if form == "gguf":
        gguf_file.write(str(path), name, shape)
    else:
        checkpoint.write(path, shape, form)


def _put(made: Path, path: Path) -> None:
    """Rename; a directory that another process has put there meanwhile is as good as ours."""
    try:
        made.replace(path)
    except OSError:
        if not path.is_dir():
            raise
