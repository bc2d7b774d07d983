"""Quantiles, intervals, metrics and verdicts: pure functions of records, on numpy and scipy.special."""

from benchsuite.stats.facts import Conditions
from benchsuite.stats.quantiles import QUANTILES, distribution, samples_needed, trial_estimate
from benchsuite.stats.steady import holm, mann_kendall
from benchsuite.stats.verdict import summarise_all

__all__ = [
    "QUANTILES",
    "Conditions",
    "distribution",
    "holm",
    "mann_kendall",
    "samples_needed",
    "summarise_all",
    "trial_estimate",
]
