"""How hosted APIs and gateways differ from the OpenAI dialect, as data: the tables of `presets.toml`."""

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

import msgspec

from benchsuite.driver import OWN_WORDS, Capabilities, caching
from benchsuite.types import Noun
from benchsuite.wire import openai


class Differences(Noun, frozen=True, kw_only=True):
    """One table of `presets.toml`, which says what its fields mean."""

    title: str
    url: str
    region: str = ""
    region_in_url: str = ""
    keys: tuple[str, ...]
    key_page: str = ""
    key_header: str = ""
    endpoints: tuple[str, ...] = ("chat", "completions", "responses")
    max_tokens: str = "max_tokens"
    temperature: str = ""
    body: dict[str, Any] = {}
    reasoning: dict[str, dict[str, Any]] = {}
    cached_tokens: bool = False
    server_timings: bool = False
    caching: str = ""
    provider_pin: bool = False
    alive: str = ""
    says: str = ""
    header: str = ""
    models: bool = True
    checked: str

    def options(self) -> dict[str, str]:
        """The options of the OpenAI dialect, and those that mean something here."""
        more = {
            "region": self.region and f"where it is served [{self.region}]",
            "provider": self.provider_pin and "only these providers, in this order: A,B",
            "auth": self.key_header and f"bearer: the key as a token, not in the header {self.key_header}",
        }
        return openai.OPTIONS | {name: text for name, text in more.items() if text}

    def capabilities(self) -> Capabilities:
        """What it can do: nothing that would need a driver of its own."""
        return Capabilities(
            exact_output=False,
            cache_off=False,
            cached_tokens=self.cached_tokens,
            server_timings=self.server_timings,
            launch=False,
            endpoints=self.endpoints,
            caching=caching(self.caching) if self.caching else MappingProxyType({"cold": OWN_WORDS}),
            sampling="by model" if self.temperature else "yes",
            reasoning=bool(self.reasoning),
        )


TABLE: Final[Mapping[str, Differences]] = MappingProxyType(
    msgspec.toml.decode((files(__package__) / "presets.toml").read_bytes(), type=dict[str, Differences])
)
