"""What vLLM says of itself beside the OpenAI dialect: its settings in development mode, and its log."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

LOADING: Final = (
    re.compile(r"Model loading took [\d.]+ GiB(?: memory)? and ([\d.]+) seconds"),
    re.compile(r"Loading weights took ([\d.]+) seconds"),
)
"""What workers log of loading, the fuller account first; on a CPU there is only the second."""

SPOKEN: Final[Mapping[str, str]] = MappingProxyType({"True": "on", "False": "off"})


def load_seconds(log: str) -> float | None:
    """The slowest worker's seconds of loading; None: the log doesn't tell."""
    found = next((times for line in LOADING if (times := line.findall(log))), [])
    return max(map(float, found), default=None)


def slots_of(info: dict[str, Any]) -> int | None:
    """Most requests that run at once, of an answer to `/server_info`; None: it isn't told."""
    slots = _part(_part(info, "vllm_config"), "scheduler_config").get("max_num_seqs")
    return slots if isinstance(slots, int) else None


def _part(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def details_of(info: dict[str, Any]) -> dict[str, str]:
    """What a server in development mode says of its settings and its device; empty where it doesn't."""
    config, system = _part(info, "vllm_config"), _part(info, "system_env")
    model, cache, parallel = (_part(config, f"{name}_config") for name in ("model", "cache", "parallel"))
    gpus = str(system.get("nvidia_gpu_models") or "").splitlines()
    found = {
        "revision": model.get("revision"),
        "dtype": str(model.get("dtype") or "").removeprefix("torch."),
        "quantization": model.get("quantization"),
        "kv_cache_dtype": cache.get("cache_dtype"),
        "prefix_cache": SPOKEN.get(str(cache.get("enable_prefix_caching"))),
        "load_format": _part(config, "load_config").get("load_format"),
        "tensor_parallel": parallel.get("tensor_parallel_size"),
        "pipeline_parallel": parallel.get("pipeline_parallel_size"),
        "data_parallel": parallel.get("data_parallel_size"),
        "device": _part(config, "device_config").get("device"),
        "gpu": gpus[0].partition(": ")[2] or gpus[0] if gpus else "",
    }
    return {name: str(value) for name, value in found.items() if value}
