"""How drivers are found: ours and anybody's, through the same entry point."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from benchsuite.driver.contract import Driver
from benchsuite.driver.optional import Configurable
from benchsuite.errors import UsageError


def backends() -> dict[str, EntryPoint]:
    """Every installed driver by name, ours and anybody's, found but not imported."""
    found = entry_points(group="benchsuite.backends")
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}


def load(name: str, options: Mapping[str, str] = MappingProxyType({})) -> Driver:
    """Import and make the driver called `name`, for a target's `options`.

    An unknown name is a UsageError that lists the known ones.
    """
    known = backends()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? There are" if near else "there are"
        raise UsageError(f"no backend called {name!r}; {hint}: {', '.join(known)}")
    driver = _made(known[name])
    return driver.configured(options) if options and isinstance(driver, Configurable) else driver


def _made(entry: EntryPoint) -> Driver:
    """The driver behind an entry point; a UsageError names the one that can't be imported or made."""
    try:
        driver: Driver = entry.load()()
    except Exception as error:
        # Somebody else's module may fail in any way.
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        package = f" of {entry.dist.name}" if entry.dist else ""
        what = f"the backend {entry.name!r}{package} can't be loaded"
        raise UsageError(f"{what} ({why}); repair or uninstall it") from error
    return driver
