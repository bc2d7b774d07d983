"""llama.cpp embedded in benchsuite: what `benchsuite run` measures where nothing else is asked for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from benchsuite.driver import Launch, Setting
from benchsuite.types import Target
from benchsuite_backends.llamacpp import LlamaCpp, embedded


class Local(LlamaCpp):
    """Options: `endpoint=chat|completions`."""

    name: ClassVar[str] = "local"
    title: ClassVar[str] = "llama.cpp (embedded)"
    default_url: ClassVar[str] = ""
    key_variables: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({})

    def launch(self, target: Target) -> Launch | None:
        """The server of the xllamacpp wheel."""
        return embedded(target)
