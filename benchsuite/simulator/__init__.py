"""A pretend LLM server with a known truth: timing, capacity, dialect and faults as configured.

`running(config)` starts one in a process of its own; `serve(config, on_ready)` serves in this one.
The truth log says of each request when its events were really sent.
"""

from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.process import Simulator, running
from benchsuite.simulator.server import serve
from benchsuite.simulator.truth import TruthEntry, read_truth

__all__ = ["SimConfig", "Simulator", "TruthEntry", "read_truth", "running", "serve"]
