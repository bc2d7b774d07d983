"""benchsuite: measure LLM inference, its latency, throughput and cost, and believe the numbers."""

__version__ = "0.1.0"
