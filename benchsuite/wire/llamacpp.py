"""What llama.cpp says of itself beside the OpenAI dialect: `/props`, and the log of the embedded server."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from benchsuite.types import CacheMode, Identity, Tape
from benchsuite.wire.calls import answer
from benchsuite.wire.openai import listed

LOADED: Final = re.compile(r"^model loaded in ([\d.]+) s", re.MULTILINE)

CACHING: Final[Mapping[CacheMode, str]] = MappingProxyType(
    {
        "cold": "cache_prompt is false: a request uses nothing of what its slot has kept",
        "warm": "cache_prompt is true: each slot keeps its last prompt and reads it once",
        "shared": "cache_prompt is true: each slot keeps its last prompt and reads the beginning once",
    }
)


def load_seconds(log: str) -> float | None:
    """The embedded server's word; `llama-server` doesn't say it."""
    found = LOADED.search(log)
    return float(found[1]) if found else None


def described(props_tape: Tape, models_tape: Tape | None = None) -> Identity | None:
    """Build, slots, the context of one slot, and the models where they are told; None: another server."""
    props = answer(props_tape)
    settings = props.get("default_generation_settings")
    if "build_info" not in props or not isinstance(settings, dict):
        return None
    context, slots = settings.get("n_ctx"), props.get("total_slots")
    models = (listed(models_tape) if models_tape else None) or []
    details = {"quantization": str(props["model_ftype"])} if props.get("model_ftype") else {}
    metas = [meta for model in models if isinstance(meta := model.get("meta"), dict)]
    if len(models) == 1 and metas and type(number := metas[0].get("n_params")) is int and number > 0:
        details["parameters"] = rounded_parameters(number)
    return Identity(
        server="llama.cpp",
        version="" if "unknown" in str(props["build_info"]) else str(props["build_info"]),
        models=tuple(model["id"] for model in models),
        context_tokens=context if isinstance(context, int) else None,
        slots=slots if isinstance(slots, int) else None,
        details=details,
    )


def rounded_parameters(number: int) -> str:
    """A number of parameters as models are named by it: 49,493,120 is `49.5M`, 8,030,261,248 is `8.03B`."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return str(number)
