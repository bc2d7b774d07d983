"""Models that lie in the local Hugging Face cache; read from disk, nothing is asked of any server."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchsuite.types import Noun

WEIGHTS = (".safetensors", ".bin", ".gguf")


class CachedModel(Noun, frozen=True, kw_only=True):
    """One model of the cache: `org/name`, what its snapshot takes on disk, and its class or `unknown`."""

    id: str
    size_bytes: int
    architecture: str


def cached_models(environ: Mapping[str, str]) -> tuple[CachedModel, ...]:
    """Models with a config.json and all their weights, most recently used first.

    Of several snapshots the one that `main` names counts, else the newest. What can't be read is
    left out; a cache that isn't there holds none.
    """
    found: list[tuple[float, CachedModel]] = []
    for repository in _listed(cache_folder(environ), "models--*"):
        for snapshot in _snapshots(repository):
            with suppress(OSError, ValueError):
                if used_and_model := _read(repository.name, snapshot):
                    found.append(used_and_model)
                    break
    found.sort(key=lambda used_and_model: (-used_and_model[0], used_and_model[1].id))
    return tuple(model for _, model in found)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where Hugging Face's programs keep downloads under these environment variables."""
    if chosen := environ.get("HF_HUB_CACHE"):
        return Path(chosen).expanduser()
    if home := environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def _snapshots(repository: Path) -> list[Path]:
    """The snapshots of a model, the one that counts first."""
    main = ""
    with suppress(OSError, UnicodeDecodeError):
        main = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    newest_first = sorted(_listed(repository / "snapshots", "*"), key=_changed, reverse=True)
    return sorted(newest_first, key=lambda snapshot: snapshot.name != main)


def _read(folder_name: str, snapshot: Path) -> tuple[float, CachedModel] | None:
    """When the weights were last read or written, and the model; None: it isn't whole."""
    config = json.loads((snapshot / "config.json").read_text(encoding="utf-8"))
    # Links to files that aren't there yet are no files.
    files = [path for path in snapshot.rglob("*") if path.is_file()]
    weights = [path.stat() for path in files if path.suffix in WEIGHTS]
    if not weights or not all((snapshot / name).is_file() for name in _shards(snapshot)):
        return None
    sizes = {path.resolve(): path.stat().st_size for path in files}
    model = CachedModel(
        id=folder_name.removeprefix("models--").replace("--", "/"),
        size_bytes=sum(sizes.values()),
        architecture=_architecture(config),
    )
    return max(max(facts.st_atime, facts.st_mtime) for facts in weights), model


def _shards(snapshot: Path) -> Iterator[str]:
    """Names of the weights' files where an index says that there are several.

    A snapshot may hold two kinds, of which one is enough: safetensors go first, as in the engines.
    """
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (snapshot / index).is_file():
            content = json.loads((snapshot / index).read_text(encoding="utf-8"))
            names = _object(_object(content).get("weight_map")).values()
            yield from {name for name in names if isinstance(name, str)}
            return


def _architecture(config: object) -> str:
    named = _object(config).get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else "unknown"


def _object(content: object) -> dict[str, Any]:
    return content if isinstance(content, dict) else {}


def _listed(folder: Path, pattern: str) -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in folder.glob(pattern) if path.is_dir())
    return []


def _changed(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
