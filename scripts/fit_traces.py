"""Print what a parametric workload takes from a published trace: its rate, arrival cv and quantile tables.

`python scripts/fit_traces.py TRACE…`: any format that `benchsuite run --trace` reads. The tables go into the
workloads `azure-code`, `azure-chat`, `mooncake-chat` and `burst`, whose comments name their source.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchsuite.workload.trace_files import Rows, rows_of
from benchsuite.workload.traces import ideal_share

SHARES = (0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.99, 0.999, 1)
"""Where the tables have a value; between two of them lengths are drawn evenly."""

SILENCE_S = 10.0
"""Longer gaps are silences: what is between them is a burst."""

STEP_S = 3.0
"""Mooncake's instants are in steps of so many seconds, so gaps tell nothing: counts per step do."""


def arrivals(at_s: NDArray[np.float64]) -> dict[str, float]:
    """Requests a second; the gaps' cv; that within bursts; and the cv that counts per step follow from."""
    gaps = np.diff(at_s)
    within = gaps[gaps <= SILENCE_S]
    counts = np.bincount((at_s // STEP_S).astype(np.int64))
    return {
        "rate": len(at_s) / float(at_s[-1]),
        "cv of gaps": float(gaps.std() / gaps.mean()),
        "cv of gaps without silences": float(within.std() / within.mean()),
        "cv of counts per step": float(np.sqrt(counts.var() / counts.mean())),
    }


def quantiles(lengths: NDArray[np.int64]) -> str:
    """A table as a workload file has it."""
    pairs = (f"[{share:g}, {float(np.quantile(lengths, share)):.0f}]" for share in SHARES)
    return f'{{ kind = "quantiles", quantiles = [{", ".join(pairs)}] }}'


def fitted(path: Path) -> str:
    """All of one trace."""
    rows, format, _ = rows_of(path)
    lines = [f"# {path.name} ({format}): {len(rows):,} rows"]
    at_s = np.array([row.at_ns for row in rows]) / 1e9
    lines += [f"# {name}: {value:.4g}" for name, value in arrivals(at_s).items()]
    lines += (
        [f"# ideal hit ratio: {ideal_share(rows):.4f}"] if isinstance(rows, Rows) and rows[0].blocks else []
    )
    for name, field in (("prompts", "prompt_tokens"), ("outputs", "output_tokens")):
        lengths = np.array([getattr(row, field) for row in rows])
        lines += [f"[{name}] # mean {lengths.mean():.1f}", f"tokens = {quantiles(lengths)}"]
    return "\n".join(lines)


def main() -> None:
    """Print the fits of the traces named."""
    for name in sys.argv[1:]:
        print(fitted(Path(name)), end="\n\n")


if __name__ == "__main__":
    main()
