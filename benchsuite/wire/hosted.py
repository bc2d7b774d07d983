"""What OpenAI itself and Azure want that other servers of their dialect don't know.

From OpenAI's reference and its SDK (3.57, November 2026); nothing of it was tried with a key. Unverified:
that Azure takes `include_obfuscation`, and that Responses refuse fewer than 16 output tokens.
"""

import hashlib
import re
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Call, Request, Target
from benchsuite.wire import calls, messages, openai, passing, responses

OPTIONS: Final = MappingProxyType(
    {
        **openai.OPTIONS,
        "flavor": "openai or compatible: whom requests are written for [by the URL]",
        "cache_options": "on or off: switch caching off for cold requests [by model]",
    }
)
"""The options of a target that OpenAI's own dialect understands."""
KNOWN: Final = MappingProxyType(
    {"flavor": ("openai", "compatible"), "cache_options": ("on", "off"), "ignore_eos": ("true", "false")}
)

OPENAI_HOSTS: Final = ("openai.com",)
AZURE_HOSTS: Final = ("openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com")

TAKES_TEMPERATURE: Final = re.compile(r"(?:ft:)?(?:gpt-3\.5|gpt-4|chatgpt-4|babbage|davinci)")
"""Models that aren't reasoning models; the others refuse any temperature but their own."""

NUMBERED: Final = re.compile(r"(?:ft:)?gpt-(\d+)(?:\.(\d+))?(?!\d)")
CACHE_OPTIONS_SINCE: Final = (5, 6)
"""The first version of GPT whose prompt caching can be switched off in a request."""

LEAST_RESPONSE_TOKENS: Final = 16
EFFORTS: Final = {"off": "none", "low": "low", "high": "high"}
KEY_CHARS: Final = 32


def is_hosted(target: Target) -> bool:
    """Is it OpenAI or Azure, by the URL's host or the option `flavor=openai|compatible`?"""
    flavor = target.options.get("flavor", "")
    return flavor == "openai" if flavor else _is_at(target, OPENAI_HOSTS + AZURE_HOSTS)


def checked(options: dict[str, str]) -> None:
    """Refuse values that mean nothing: a UsageError."""
    calls.checked(options, KNOWN)


def call(request: Request, target: Target, *, extra: dict[str, Any]) -> Call:
    """A request at the target's endpoint, with what the host wants; `extra` fields are added to the body."""
    endpoint, target = target.options.get("endpoint", "chat"), passing.meant(request, target)
    hosted = is_hosted(target)
    fields = (_cache_fields(request, target) if hosted and endpoint != "completions" else {}) | extra
    if endpoint == "responses":
        return responses.call(request, target, extra=_response_fields(request, target, hosted) | fields)
    if request.reasoning:
        if endpoint == "completions":
            raise UsageError("--reasoning doesn't reach completions: leave it out, or use --endpoint chat")
        fields["reasoning_effort"] = EFFORTS[request.reasoning]
    if not hosted:
        return openai.call(request, target, extra=fields)
    own = {} if endpoint == "completions" else {"max_tokens_field": "max_completion_tokens"}
    if not _takes_temperature(target):
        own["temperature"] = "none"
    fields = {"stream_options": {"include_usage": True, "include_obfuscation": False}} | fields
    return openai.call(request, _with_options(target, own), extra=fields)


def _response_fields(request: Request, target: Target, hosted: bool) -> dict[str, Any]:
    """Responses' own names for the temperature and for thinking, of which a summary is streamed."""
    own = {"temperature": "none"} if hosted and not _takes_temperature(target) else {}
    fields: dict[str, Any] = dict(calls.greedy(_with_options(target, own)))
    if request.reasoning:
        summary = {} if request.reasoning == "off" else {"summary": "auto"}
        fields["reasoning"] = {"effort": EFFORTS[request.reasoning], **summary}
    if hosted:
        fields["stream_options"] = {"include_obfuscation": False}
        fields["max_output_tokens"] = max(LEAST_RESPONSE_TOKENS, request.max_output_tokens)
    return fields


def _cache_fields(request: Request, target: Target) -> dict[str, Any]:
    """Cold: no caching at all, where a request can say so. Else a key that brings equal prompts together."""
    if request.cache == "cold":
        return {"prompt_cache_options": {"mode": "explicit"}} if _has_cache_options(target) else {}
    text = messages.text(request.messages[0]) if request.messages else ""
    shared = text[: request.shared_chars] if request.cache == "shared" else text
    return {"prompt_cache_key": hashlib.sha256(shared.encode()).hexdigest()[:KEY_CHARS]}


def _has_cache_options(target: Target) -> bool:
    asked = target.options.get("cache_options", "")
    if asked:
        return asked == "on"
    version = NUMBERED.match(target.model)
    if version is None or _is_at(target, AZURE_HOSTS):
        return False
    return (int(version[1]), int(version[2] or 0)) >= CACHE_OPTIONS_SINCE


def _takes_temperature(target: Target) -> bool:
    return TAKES_TEMPERATURE.match(target.model) is not None


def _with_options(target: Target, defaults: dict[str, str]) -> Target:
    return msgspec.structs.replace(target, options=defaults | target.options)


def _is_at(target: Target, hosts: tuple[str, ...]) -> bool:
    host = urlsplit(target.url).hostname or ""
    return any(host == one or host.endswith(f".{one}") for one in hosts)
