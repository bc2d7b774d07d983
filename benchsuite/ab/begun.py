"""Going on with two arms whose measuring was interrupted: which runs they are, and what of them counts."""

from benchsuite import resume
from benchsuite.ab.ask import Ask
from benchsuite.asked import Options
from benchsuite.differences import told_apart
from benchsuite.errors import UsageError
from benchsuite.store.runs import RunDir, Store
from benchsuite.types import Manifest


def pairs_done(arms: tuple[Options, Options], ask: Ask, store: Store) -> int:
    """How many pairs are measured already where it is gone on; a UsageError if nothing was interrupted."""
    return len(kept_of(begun(ask.of(arms), ask, store))) if ask.resume else 0


def kept_of(found: tuple[RunDir, RunDir]) -> tuple[int, ...]:
    """The numbers of the pairs that both runs have whole."""
    pairings = [run_dir.plan().pairing for run_dir in found]
    return min((pairing.kept if pairing else () for pairing in pairings), key=len)


def begun(arms: tuple[Options, Options], ask: Ask, store: Store) -> tuple[RunDir, RunDir]:
    """The newest two runs of these arms, asked for the same, that were interrupted.

    A UsageError where there are none.
    """
    base, other = arms
    partners = {run_dir.run_id: run_dir for run_dir in resume.found(store, other)}
    wanted = (ask.purpose, ask.looks, ask.restarts)
    for run_dir in resume.found(store, base):
        pairing = run_dir.plan().pairing
        if pairing is None or (pairing.purpose, pairing.looks, pairing.restarts) != wanted:
            continue
        partner = partners.get(pairing.partner) if pairing.arm == "A" else None
        if partner is None or run_dir.live or partner.live:
            continue
        if not (resume.finished(run_dir) and resume.finished(partner)):
            return run_dir, partner
    raise UsageError(resume.nothing_to_resume([base], store))


def check_same(before: Manifest, now: Manifest) -> None:
    """A UsageError where an arm has become another since it was begun: its pairs would be of two builds."""
    resume.same_still(before, now)
    chosen, _ = told_apart(before, now)
    for each in chosen:
        if not each.name.startswith("label "):
            raise UsageError(
                f"run {before.run_id} was begun with another {each.name} ({each.base}, now {each.other}): "
                "leave --resume out to measure anew"
            )
