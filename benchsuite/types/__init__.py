"""The nouns that every room speaks: frozen values, integer nanoseconds, units in the names.

A *run* is one invocation; it holds *points* (one per load, length, model…); each point is
measured in several *trials*, the statistical unit; a trial is made of *requests*; each request
leaves one *record*. Values that go to disk refuse unknown fields.
"""

from benchsuite.types.asked import (
    METRICS_VERSION,
    OUTCOMES,
    SCHEMA,
    Arrivals,
    Bodies,
    CacheMode,
    Lengths,
    Message,
    Noun,
    Outcome,
    Phase,
    Point,
    Reasoning,
    Request,
    Slo,
    Verdict,
    Workload,
)
from benchsuite.types.heard import Call, Record, Reply, Tape, Target
from benchsuite.types.measured import (
    BatchInfo,
    BatchPoll,
    Connection,
    Identity,
    Machine,
    Manifest,
    Price,
    Selftest,
    SelftestLevel,
    Timeouts,
    TokenPrice,
    TrialInfo,
    WorkerHealth,
)
from benchsuite.types.results import Estimate, Metric, Run, Summary, Warning
from benchsuite.types.told import Progress, Stage

__all__ = [
    "METRICS_VERSION",
    "OUTCOMES",
    "SCHEMA",
    "Arrivals",
    "BatchInfo",
    "BatchPoll",
    "Bodies",
    "CacheMode",
    "Call",
    "Connection",
    "Estimate",
    "Identity",
    "Lengths",
    "Machine",
    "Manifest",
    "Message",
    "Metric",
    "Noun",
    "Outcome",
    "Phase",
    "Point",
    "Price",
    "Progress",
    "Reasoning",
    "Record",
    "Reply",
    "Request",
    "Run",
    "Selftest",
    "SelftestLevel",
    "Slo",
    "Stage",
    "Summary",
    "Tape",
    "Target",
    "Timeouts",
    "TokenPrice",
    "TrialInfo",
    "Verdict",
    "Warning",
    "WorkerHealth",
    "Workload",
]
