"""Figures of one or several runs: values in, a matplotlib Figure out, then its bytes.

`sheet` puts runs on a common axis; `overview`, or one of `FIGURES`, draws it; `image` makes a file of it.
"""

from benchsuite.report.figures.completion import completion
from benchsuite.report.figures.pages import (
    FIGURES,
    cost,
    distribution,
    drawable,
    latency,
    overview,
    priced,
    throughput,
)
from benchsuite.report.figures.paper import Format, image
from benchsuite.report.figures.sheet import Samples, Sheet, samples_of, sheet

__all__ = [
    "FIGURES",
    "Format",
    "Samples",
    "Sheet",
    "completion",
    "cost",
    "distribution",
    "drawable",
    "image",
    "latency",
    "overview",
    "priced",
    "samples_of",
    "sheet",
    "throughput",
]
