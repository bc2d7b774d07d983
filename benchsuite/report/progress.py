"""How a trial is going, in a line."""

from benchsuite.forecast import told_s
from benchsuite.report.units import rounded
from benchsuite.types import Progress

_BAR = 20
_SHORT_S = 10.0
"""What is left of a run is told from here on."""


def progress_line(progress: Progress) -> str:
    """`[1/3] 8 in flight, trial 2 of 3: 120 of 240, 14.2 req/s, TTFT 34 ms, 1,020 tok/s, 0 errors`…"""
    return f"{_which(progress)}: {_state(progress)}"


def progress_block(progress: Progress) -> str:
    """The same in two lines, with a bar: all of it is seen in 80 columns."""
    share = done_share(progress)
    if share is None:
        return f"{_which(progress)}\n{_state(progress)}"
    full = round(_BAR * share)
    return f"{_which(progress)} {'━' * full}{'╌' * (_BAR - full)}\n{_state(progress)}"


def _which(progress: Progress) -> str:
    point = progress.point
    which = f"trial {progress.trial} of {progress.trials}" if progress.phase == "measure" else "warm-up"
    arm = f"{progress.arm} " if progress.arm else ""
    return f"{arm}[{point.index + 1}/{progress.points}] {progress.place or point.label}, {which}"


def _state(progress: Progress) -> str:
    """What matters most first: a narrow terminal cuts the end off."""
    if progress.total is not None:
        done = f"{progress.done:,} of {progress.total:,}"
    elif progress.total_s is not None:
        done = f"{min(progress.elapsed_s, progress.total_s):.0f} of {progress.total_s:g} s"
    else:
        done = f"{progress.done:,} done"
    parts = [done]
    if progress.waits_s:
        parts.append(f"waiting {progress.waits_s:.0f} s as the server asks (Retry-After)")
    parts.append(f"{rounded(progress.rate)} req/s")
    if progress.ttft_ms is not None:
        parts.append(f"TTFT {rounded(progress.ttft_ms)} ms")
    if progress.tokens_per_s is not None:
        parts.append(f"{rounded(progress.tokens_per_s)} tok/s")
    parts.append(f"{progress.errors:,} error{'s' * (progress.errors != 1)}")
    if progress.lag_ms is not None:
        parts.append(f"lag {rounded(progress.lag_ms, digits=2)} ms")
    if progress.left_s is not None and progress.left_s >= _SHORT_S:
        parts.insert(1, f"about {told_s(progress.left_s)} left")
    return ", ".join(parts)


def done_share(progress: Progress) -> float | None:
    """How much of the trial is done, 0 to 1; None: nobody knows."""
    if progress.total:
        return min(1.0, progress.done / progress.total)
    if progress.total_s:
        return min(1.0, progress.elapsed_s / progress.total_s)
    return None
