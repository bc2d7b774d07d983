"""What a server says of itself, in plain words."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from benchsuite.types import Identity

WORDS: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {
        "model": lambda value: f"model {value}",
        "loaded": lambda value: f"loaded: {value}",
        "revision": lambda value: f"revision {value[:12]}",
        "family": lambda value: f"family {value}",
        "parameters": lambda value: f"{value} parameters",
        "format": lambda value: f"format {value}",
        "quantization": lambda value: f"quantised {value}",
        "dtype": lambda value: f"computes in {value}",
        "kv_cache_dtype": lambda value: f"KV cache in {value}",
        "load_format": lambda value: f"weights loaded as {value}",
        "tensor_parallel": lambda value: f"tensor parallel {value}",
        "pipeline_parallel": lambda value: f"pipeline parallel {value}",
        "data_parallel": lambda value: f"data parallel {value}",
        "prefix_cache": lambda value: f"prefix cache {value}",
        "on_gpu": lambda value: f"{value} of the model on a GPU",
        "device": lambda value: f"on {value}",
        "gpu": lambda value: value,
        "remote": lambda value: "the model runs elsewhere" if value == "yes" else f"remote {value}",
        "region": lambda value: f"region {value}",
    }
)
"""A detail's name → how its value is read out, in the order of telling; others are told as they are."""

_ALONE: Final = frozenset({"tensor_parallel", "pipeline_parallel", "data_parallel"})
"""Said only where it isn't 1."""

_AUTOMATIC: Final = frozenset({"kv_cache_dtype", "load_format"})
"""Said only where it isn't left to the server."""


def identity_words(identity: Identity) -> tuple[str, ...]:
    """Context, slots and every detail that it told, without what goes without saying."""
    found = []
    if identity.context_tokens is not None:
        found.append(f"context of {identity.context_tokens:,} tokens")
    if identity.slots is not None:
        found.append(f"{identity.slots:,} slot{'s' * (identity.slots != 1)}")
    known = {name: identity.details[name] for name in WORDS if name in identity.details}
    for name, value in (known | identity.details).items():
        if (name in _ALONE and value == "1") or (name in _AUTOMATIC and value == "auto"):
            continue
        found.append(WORDS[name](value) if name in WORDS else f"{name.replace('_', ' ')} {value}")
    return tuple(found)
