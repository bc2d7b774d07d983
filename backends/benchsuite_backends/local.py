"""llama.cpp embedded in benchsuite: what `benchsuite run` measures where nothing else is asked for."""

from collections.abc import Mapping
from typing import ClassVar

from benchsuite.driver import Launch, Setting
from benchsuite.types import Target
from benchsuite_backends.llamacpp import LlamaCpp, embedded
from benchsuite_backends.starting import settings_of


class Local(LlamaCpp):
    """The same server and dialect, in a process that benchsuite brings along."""

    name: ClassVar[str] = "local"
    title: ClassVar[str] = "llama.cpp (embedded)"
    default_url: ClassVar[str] = ""
    key_variables: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[Mapping[str, Setting]] = settings_of("local")

    def launch(self, target: Target) -> Launch | None:
        """The server of the xllamacpp wheel."""
        return embedded(target, settings=True)
