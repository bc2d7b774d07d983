"""Which servers are there to be measured: at their usual address, at one that is set, or with a key.

No hosted API, and no gateway to one, is contacted unless both its key and a model are set. What merely
listens at an engine's usual address may be something else; one that is set has to be what it is said to be.
"""

from collections.abc import Mapping

from benchsuite.driver import Driver, backends, load
from benchsuite.engine.endpoint import resolve
from benchsuite.errors import TargetError
from benchsuite.identify import identify
from benchsuite.types import Connection, Identity, Noun, Target, Timeouts

SELF_HOSTED = ("ollama", "tgi", "sglang", "lmstudio", "tensorrt", "llamacpp")
PATIENCE = Timeouts(connect_s=2.0, first_byte_s=20.0, silence_s=20.0, total_s=30.0)


class Absent(Exception):
    """It isn't there; in one line, what to set."""


class Live(Noun, frozen=True, kw_only=True):
    """A server that said who it is. `doors`: all that its driver has, the first one is native."""

    backend: str
    url: str
    model: str
    key: str | None
    identity: Identity
    doors: tuple[str, ...]
    hosted: bool

    @property
    def target(self) -> Target:
        return Target(backend=self.backend, url=self.url, model=self.model, key=self.key)

    @property
    def connection(self) -> Connection:
        return Connection(timeouts=PATIENCE)


def hosted() -> tuple[str, ...]:
    """Those that cost money: the vendors, and each preset."""
    presets = tuple(name for name, entry in backends().items() if ".presets:" in entry.value)
    return ("openai", "anthropic", "gemini", *presets)


def doors(backend: str) -> tuple[str, ...]:
    return load(backend).capabilities.endpoints


def found(backend: str, environ: Mapping[str, str], usual: str | None = None) -> Live:
    """The server that answers; Absent if none does, TargetError if it isn't what the variables say.

    `usual`: where it usually is, if not where its driver says.
    """
    driver = load(backend)
    where, which = (f"BENCHSUITE_TEST_{backend.upper()}_{word}" for word in ("URL", "MODEL"))
    set_url, model = environ.get(where, ""), environ.get(which, "")
    url = set_url or (driver.default_url if usual is None else usual)
    key = next((environ[name] for name in driver.key_variables if environ.get(name)), None)
    costs = backend in hosted()
    if costs and (key is None or not model or not url):
        names = [" (or ".join(driver.key_variables) + ")" * (len(driver.key_variables) - 1), which]
        names += [] if driver.default_url else [where]
        raise Absent(f"{driver.title} isn't asked: set {' and '.join(names)}")
    target = Target(backend=backend, url=url, model=model, key=key)
    identity = _identity(driver, target, sure=costs or bool(set_url), where=where)
    if not model and len(identity.models) != 1:
        raise Absent(f"{driver.title} at {url} has {len(identity.models)} models: set {which} to one of them")
    return Live(
        backend=backend,
        url=url,
        model=model or identity.models[0],
        key=key,
        identity=identity,
        doors=doors(backend),
        hosted=costs,
    )


def _identity(driver: Driver, target: Target, *, sure: bool, where: str) -> Identity:
    try:
        return identify(driver, target, resolve(target, Connection(timeouts=PATIENCE)), named=sure)
    except TargetError as error:
        if sure:
            raise
        raise Absent(f"no {driver.title} at {target.url}: start one, or set {where} ({error})") from None
