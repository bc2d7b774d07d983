"""What the OpenAI dialect sounds like from each engine's mouth, as data.

Taken from recordings of vLLM 0.32, llama.cpp, mlx-lm 0.32.2 and transformers 5.23 and, for the others,
from their sources and documents; those of LM Studio and TensorRT-LLM weren't heard from a real server.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec


class Engine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One engine's ways.

    `thought`: fields of a delta that carry reasoning; none: reasoning stays hidden. `role`: what the
    role chunk's delta is; empty: none comes. `each`: what stands in every delta besides its text.
    `finish`: the finish reason comes with the last token or in a chunk of its own. `usage`: in a chunk
    of its own, or with the finish reason. `null_usage`: every other chunk has `usage: null`. `errors`: their
    shape. `forces`: a request can rule out an early end. `unknown`: fields that it refuses. `timings`:
    told without being asked to.
    """

    owner: str
    thought: tuple[str, ...] = ("reasoning_content",)
    role: str = '{"role":"assistant","content":""}'
    each: str = ""
    finish: Literal["own", "last"] = "own"
    usage: Literal["own", "finish"] = "own"
    null_usage: bool = False
    details: bool = True
    done: bool = True
    errors: Literal["openai", "vllm", "flat", "llamacpp", "text", "detail", "tgi"] = "openai"
    forces: bool = True
    unknown: tuple[str, ...] = ()
    timings: bool = False
    server: str = ""


_ROLE: Final = '"role":"assistant",'

ENGINES: Final[Mapping[str, Engine]] = MappingProxyType(
    {
        "": Engine(owner="benchsuite", null_usage=True),
        "vllm": Engine(owner="vllm", thought=("reasoning",), finish="last", errors="vllm"),
        "sglang": Engine(
            owner="sglang",
            role='{"role":"assistant","content":"","reasoning_content":null}',
            errors="flat",
        ),
        "tensorrt": Engine(
            owner="tensorrt_llm",
            thought=("reasoning_content", "reasoning"),
            finish="last",
            errors="flat",
            unknown=("cache_prompt", "prompt_cache_options", "generation_config", "cache_control"),
        ),
        "llamacpp": Engine(
            owner="llamacpp", role='{"role":"assistant","content":null}', errors="llamacpp", timings=True
        ),
        "mlx": Engine(
            owner="",
            thought=("reasoning",),
            role="",
            each=_ROLE,
            errors="text",
            server="BaseHTTP/0.6 benchsuite-sim",
        ),
        "transformers": Engine(
            owner="",
            role='{"role":"assistant"}',
            usage="finish",
            details=False,
            done=False,
            errors="detail",
        ),
        "ollama": Engine(
            owner="library", thought=("reasoning",), role="", each=_ROLE, details=False, forces=False
        ),
        "lmstudio": Engine(owner="organization_owner", thought=("reasoning",), details=False, forces=False),
        "tgi": Engine(owner="", thought=(), role="", each=_ROLE, details=False, errors="tgi", forces=False),
        "openai": Engine(
            owner="openai",
            thought=(),
            role='{"role":"assistant","content":"","refusal":null}',
            null_usage=True,
            forces=False,
            unknown=("ignore_eos", "min_tokens", "cache_prompt", "cache_salt", "generation_config"),
            timings=True,
        ),
    }
)
