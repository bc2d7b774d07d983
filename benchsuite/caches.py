"""Prompt prefixes that a backend wants uploaded before their use: done before warm-up, undone at the end."""

import contextlib
from collections.abc import Generator

import msgspec

from benchsuite.asked import Options
from benchsuite.driver import PreparesCache
from benchsuite.engine.exchange import ask
from benchsuite.errors import BenchsuiteError, TargetError
from benchsuite.identify import patient
from benchsuite.target import Resolved, Tell, with_fresh_key
from benchsuite.types import Manifest, Stage
from benchsuite.workload.plan import Draw, shared_prefixes

_UPLOAD_S = 60.0


@contextlib.contextmanager
def uploaded(options: Options, manifest: Manifest, who: Resolved, tell: Tell) -> Generator[Resolved]:
    """The target with its points' prefixes uploaded, for as long as the block lasts, however it ends.

    Where nothing has to be uploaded it is the same target. TargetError if an upload is refused.
    """
    names: dict[str, str] = {}
    try:
        for prefix in _prefixes(manifest, who):
            _upload(prefix, names, who, tell)
        target = msgspec.structs.replace(who.target, caches=who.target.caches | names)
        yield msgspec.structs.replace(who, target=target) if names else who
    finally:
        if names:
            _remove(names, options, who, tell)


def _prefixes(manifest: Manifest, who: Resolved) -> list[str]:
    """Each prefix of each point once; none where the driver uploads nothing."""
    lengths = manifest.lengths
    shares = any(point.cache == "shared" for point in manifest.points)
    if not shares or not isinstance(who.driver, PreparesCache) or lengths is None:
        return []
    found = [
        prefix
        for point in manifest.points
        for prefix in shared_prefixes(
            Draw(
                workload=manifest.workload,
                point=point,
                phase="measure",
                trial=1,
                seed=manifest.seed,
                nonce=manifest.nonce,
                lengths=lengths,
            )
        )
    ]
    return list(dict.fromkeys(found))


def _upload(prefix: str, names: dict[str, str], who: Resolved, tell: Tell) -> None:
    """Upload one and note its name."""
    driver = who.driver
    assert isinstance(driver, PreparesCache)
    call = driver.cache_call(prefix, who.target)
    if call is None:
        return
    tell(Stage(name="warm_up", text="uploading the shared prefix"))
    (tape,) = ask(patient(who.endpoint, _UPLOAD_S), who.target, (call,))
    name = driver.cache_name(tape)
    if name is None:
        said = who.driver.decode(tape).error_message
        heard = f"HTTP {tape.status} {said}".rstrip() if tape.status else tape.error or "no answer"
        raise TargetError(
            f"{who.driver.title} didn't take the shared prefix ({heard}); is it too short for its cache? "
            "Make prompts longer, or leave the option out that uploads it"
        )
    names[prefix] = name


def _remove(names: dict[str, str], options: Options, who: Resolved, tell: Tell) -> None:
    """Remove all of them; one that stays is told, and what was measured isn't lost by it."""
    driver = who.driver
    assert isinstance(driver, PreparesCache)
    try:
        target = with_fresh_key(options, who).target
        calls = [driver.uncache_call(name, target) for name in names.values()]
        tapes = ask(patient(who.endpoint, _UPLOAD_S), target, calls)
        left = sum(not 200 <= tape.status < 300 for tape in tapes)
    except (BenchsuiteError, OSError):
        left = len(names)
    if left:
        text = f"{left} uploaded prefix(es) could not be removed; they expire there by themselves"
        tell(Stage(name="save", text=text))
