"""What each number means, in a line (metrics version 1)."""

from types import MappingProxyType
from typing import Final

METRICS: Final = MappingProxyType(
    {
        "ttft": ("TTFT", "first token − sent; role chunks, comments and pings aren't tokens"),
        "ttft_from_due": ("TTFT from due", "first token − when the schedule wanted the request sent"),
        "ttfo": ("TTFO", "first token that isn't reasoning − sent"),
        "tpot": ("TPOT", "(last − first token) / (streamed tokens − those of the first event), per request"),
        "itl": ("ITL", "gaps between token events, pooled over requests; n counts gaps"),
        "e2e": ("E2E", "end of the answer − sent"),
        "e2e_from_due": ("E2E from due", "end of the answer − when the schedule wanted the request sent"),
        "server_load": ("server: load", "loading the model, as the server says"),
        "server_queue": ("server: queue", "waiting in the server's queue, as it says"),
        "server_prefill": ("server: prefill", "reading the prompt up to the first token, as the server says"),
        "server_first": ("server: first token", "from the request to its first token, as the server says"),
        "server_decode": ("server: decode", "from the first token to the last, as the server says"),
        "server_rest": (
            "network and rest",
            "TTFT − the server's load, queue and prefill, as far as it tells them (E2E − its total where it "
            "tells no more); never cut at 0",
        ),
        "send_lag": ("send lag", "sent − due: how late the client was"),
        "reader_lag": ("reader lag", "when we held an arrival − its stamp"),
        "connect": ("connect", "TCP connect time, the round trip; never part of TTFT"),
    }
)
"""Metric → its name for people, and its definition."""

RATES: Final = MappingProxyType(
    {
        "output_tokens_per_s": ("tok/s total", "output tokens that arrived in the window / its length"),
        "conversations_per_s": (
            "conv/s",
            "conversations that ended in the window, each turn answered / its length; thinking included",
        ),
        "requests_per_s": ("req/s", "answered requests that ended in the window / its length"),
        "tokens_per_s_per_user": ("tok/s per user", "1 / TPOT p50"),
        "goodput_per_s": (
            "goodput, req/s",
            "requests per second that met every limit of the SLO; failed ones are misses",
        ),
        "prefill_tokens_per_s": (
            "prefill tok/s",
            "uncached prompt tokens / (TTFT − the server's queue time): an estimate",
        ),
        "requests_per_hour": ("req/h", "answered requests of a batch / hours from its creation to its end"),
        "turnaround_s": ("turnaround, s", "a batch's creation to its end, by the server's clock if it tells"),
        "cost_per_1k_usd": ("$/1k requests", "dollars for 1,000 requests at this load, at the prices stored"),
        "cost_per_1k_as_asked_usd": (
            "$/1k requests as asked",
            "what they would cost with exactly the lengths asked for, and the share of cached tokens found",
        ),
        "cost_per_m_tokens_usd": (
            "$/M tokens",
            "dollars for a million tokens, prompt and output together, at this load",
        ),
        "cost_per_m_output_tokens_usd": (
            "$/M output tokens",
            "the same hour's dollars over output tokens alone: never both at once",
        ),
        "pass_rate": (
            "pass rate",
            "answers that passed the workload's check / requests; a failed request didn't pass",
        ),
        "usd_per_1k_passed": (
            "$/1k passed",
            "dollars for 1,000 answers that passed, those that didn't paid for as well",
        ),
    }
)
"""Rate → its name for people, and its definition."""

WINDOWS: Final = MappingProxyType(
    {
        "closed": "from the send that filled all slots to the last send",
        "open": "one E2E (p95) after the first due to the last due, or the whole trial if it is short",
        "offline": "first send to last end",
        "stages": "all stages, ramps and idle times included",
        "batch-api": "from a batch's creation to its end",
    }
)
"""Kind of load → what throughput is counted over."""
