"""What runs drawn together share, for the title, and what they differ in, for the legend."""

from collections.abc import Sequence

from benchsuite.report.screen import short_id, short_model, workload_line, workload_name
from benchsuite.types import Manifest


def legend_names(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """One name a run: only what the runs differ in, the short id where that doesn't tell them apart."""
    facets = [_facets(manifest) for manifest in manifests]
    differing = [key for key in _keys(facets) if len({each.get(key, "") for each in facets}) > 1]
    names = [" · ".join(each[key] for key in differing if each.get(key)) for each in facets]
    ids = [short_id(manifest.run_id) for manifest in manifests]
    return tuple(
        name if name and names.count(name) == 1 else " · ".join(part for part in (name, its_id) if part)
        for name, its_id in zip(names, ids, strict=True)
    )


def shared_lines(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """What holds for all runs, as lines under a title: the workload, then who was measured."""
    facets = [_facets(manifest) for manifest in manifests]
    same = {key: each for key, each in facets[0].items() if all(other.get(key) == each for other in facets)}
    asked = {workload_line(manifest) for manifest in manifests}
    workload = asked.pop() if len(asked) == 1 else same.get("workload", "")
    model, server = same.get("model", ""), same.get("server", "")
    who = f"{model} on {server}" if model and server else model or server
    parts = [who, *(same.get(key, "") for key in ("quantization", "dtype", "gpu", "machine"))]
    return tuple(line for line in (workload, " · ".join(part for part in parts if part)) if line)


def _keys(facets: Sequence[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(key for each in facets for key in each))


def _facets(manifest: Manifest) -> dict[str, str]:
    """What tells one run from another, most telling first; empty: not known."""
    identity = manifest.identity
    found = {
        "server": f"{identity.server} {identity.version}".strip() or manifest.backend,
        "model": short_model(manifest),
        "quantization": identity.details.get("quantization", ""),
        "dtype": identity.details.get("dtype", ""),
        "gpu": manifest.gpu or identity.details.get("gpu", ""),
        # A server that was already running may stand anywhere.
        "machine": "" if manifest.attached else f"{manifest.machine.cpu}, {manifest.machine.cores} cores",
        "workload": workload_name(manifest),
    }
    for kind, pairs in (("engine", manifest.engine), ("label", manifest.labels)):
        found |= {f"{kind} {key}": f"{key}={value}" for key, value in pairs.items()}
    return {key: " ".join(value.split()) for key, value in found.items()}
