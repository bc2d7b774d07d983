"""Any streaming HTTP API, described in a file: `--backend http --spec my-api.toml`."""

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import ClassVar

from benchsuite.driver import Capabilities, Driver, Launch, Setting
from benchsuite.errors import UsageError
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import custom
from benchsuite.wire.spec import parse


class Http:
    """Option `spec`: the text of the specification; what it can do is what the specification says."""

    name: ClassVar[str] = "http"
    title: ClassVar[str] = "any streaming HTTP API, described in a file"
    default_url: ClassVar[str] = ""
    key_variables: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[Mapping[str, str]] = MappingProxyType({"spec": "the API's description: --spec"})
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=False,
        cache_off=False,
        cached_tokens=False,
        server_timings=False,
        launch=False,
        endpoints=(custom.DOOR,),
    )
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({})

    def __init__(self, dialect: custom.Dialect | None = None) -> None:
        self._dialect = dialect
        if dialect is not None:
            # Other drivers' titles and capabilities are their class's; here each specification has its own.
            vars(self).update(title=dialect.spec.name, capabilities=custom.capabilities(dialect.spec))

    def configured(self, options: Mapping[str, str]) -> Driver:
        """The driver of one specification."""
        if not options.get("spec"):
            raise UsageError(
                "--backend http needs --spec FILE; `benchsuite backends http` prints one to start from"
            )
        return Http(custom.Dialect(parse(options["spec"])))

    def stored_options(self, options: Mapping[str, str]) -> dict[str, str]:
        """The specification without what is sent."""
        return {**options, "spec": self._known().spec.stored()}

    def example(self) -> str:
        """A specification with every key explained."""
        return files("benchsuite_backends").joinpath("my-api.toml").read_text(encoding="utf-8")

    def launch(self, target: Target) -> Launch | None:
        """Attach only."""
        return None

    def identify(self, target: Target) -> tuple[Call, ...]:
        """One GET."""
        return (self._known().identify(target),)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Named as the specification is."""
        return self._known().identity(tapes)

    def encode(self, request: Request, target: Target) -> Call:
        """The specification's request, filled in."""
        return self._known().call(request, target)

    def decode(self, tape: Tape) -> Reply:
        """Read as the specification says."""
        return self._known().decode(tape)

    def _known(self) -> custom.Dialect:
        if self._dialect is None:
            raise UsageError(
                "--backend http needs --spec FILE; `benchsuite backends http` prints one to start from"
            )
        return self._dialect
