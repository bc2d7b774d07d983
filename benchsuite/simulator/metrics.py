"""Pages of metrics for Prometheus, under each engine's names."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.http import Page
from benchsuite.simulator.site import Load, Site

PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"

_Field = Literal[
    "running", "waiting", "requests", "prompt_tokens", "cached_tokens", "output_tokens", "ttft_s", "e2e_s"
]
_Kind = Literal["gauge", "counter", "histogram"]

NAMES: Final[Mapping[str, Mapping[str, tuple[_Kind, _Field]]]] = MappingProxyType(
    {
        "vllm": {
            "vllm:num_requests_running": ("gauge", "running"),
            "vllm:num_requests_waiting": ("gauge", "waiting"),
            "vllm:prompt_tokens_total": ("counter", "prompt_tokens"),
            "vllm:generation_tokens_total": ("counter", "output_tokens"),
            "vllm:prefix_cache_queries_total": ("counter", "prompt_tokens"),
            "vllm:prefix_cache_hits_total": ("counter", "cached_tokens"),
            "vllm:request_success_total": ("counter", "requests"),
            "vllm:time_to_first_token_seconds": ("histogram", "ttft_s"),
            "vllm:e2e_request_latency_seconds": ("histogram", "e2e_s"),
        },
        "sglang": {
            "sglang:num_running_reqs": ("gauge", "running"),
            "sglang:num_queue_reqs": ("gauge", "waiting"),
            "sglang:prompt_tokens_total": ("counter", "prompt_tokens"),
            "sglang:generation_tokens_total": ("counter", "output_tokens"),
            "sglang:cached_tokens_total": ("counter", "cached_tokens"),
            "sglang:num_requests_total": ("counter", "requests"),
            "sglang:time_to_first_token_seconds": ("histogram", "ttft_s"),
            "sglang:e2e_request_latency_seconds": ("histogram", "e2e_s"),
        },
        "tensorrt": {
            "trtllm_num_requests_running": ("gauge", "running"),
            "trtllm_num_requests_waiting": ("gauge", "waiting"),
            "trtllm_request_success_total": ("counter", "requests"),
            "trtllm_time_to_first_token_seconds": ("histogram", "ttft_s"),
            "trtllm_e2e_request_latency_seconds": ("histogram", "e2e_s"),
        },
        "llamacpp": {
            "llamacpp:requests_processing": ("gauge", "running"),
            "llamacpp:requests_deferred": ("gauge", "waiting"),
            "llamacpp:prompt_tokens_total": ("counter", "prompt_tokens"),
            "llamacpp:tokens_predicted_total": ("counter", "output_tokens"),
        },
        "tgi": {
            "tgi_batch_current_size": ("gauge", "running"),
            "tgi_queue_size": ("gauge", "waiting"),
            "tgi_request_count": ("counter", "requests"),
            "tgi_request_skipped_tokens": ("histogram", "cached_tokens"),
            "tgi_request_input_length": ("histogram", "prompt_tokens"),
            "tgi_request_generated_tokens": ("histogram", "output_tokens"),
            "tgi_request_duration": ("histogram", "e2e_s"),
        },
    }
)


def register(site: Site) -> None:
    """The page of the engine that is imitated, if it has one; TensorRT-LLM's is elsewhere."""
    engine = site.config.engine
    if engine not in NAMES:
        return
    path = "/prometheus/metrics" if engine == "tensorrt" else "/metrics"

    def page(incoming: Incoming, found: dict[str, str]) -> Page:
        labels = f'{{model_name="{site.config.model}"}}' if engine in ("vllm", "sglang") else ""
        return Page(body=_text(engine, labels, site.load).encode(), media=PROMETHEUS)

    site.page("GET", path, page, public=True)


def _text(engine: str, labels: str, load: Load) -> str:
    lines: list[str] = []
    for name, (kind, field) in NAMES[engine].items():
        value = getattr(load, field)
        family = name.removesuffix("_total") if kind == "counter" and engine == "vllm" else name
        lines += (f"# HELP {family} Simulated.", f"# TYPE {family} {kind}")
        if kind != "histogram":
            lines.append(f"{name}{labels} {value:.10g}")
            continue
        inner = labels.strip("{}")
        bucket = f'{{{inner},le="+Inf"}}' if inner else '{le="+Inf"}'
        lines.append(f"{name}_bucket{bucket} {load.requests}")
        lines += (f"{name}_sum{labels} {value:.10g}", f"{name}_count{labels} {load.requests}")
    return "\n".join(lines) + "\n"
