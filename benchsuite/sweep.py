"""Sweeps over what needs a server each: models, backends and settings of an engine. Each arm is a run.

Axes that one server answers (lengths, loads, cache modes) make points of a run instead.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import msgspec

from benchsuite import resume
from benchsuite.asked import Options
from benchsuite.errors import StoreError, UsageError
from benchsuite.shown import masked_url, shown_model
from benchsuite.store.runs import RunDir, Store, new_run_id


def arms(targets: Sequence[Options]) -> list[Options]:
    """Each target with each of its workload's models and engine settings; one alone is no sweep.

    A model that a target has itself takes the place of the workload's, and so does a setting of its engine.
    UsageError: several models of one server, and a mix that says itself which of them a request is for.
    """
    found = [arm for options in targets for arm in _of_target(options)]
    _check_mix(found)
    if len(found) == 1:
        return found
    values = [_values(arm) for arm in found]
    names = dict.fromkeys(name for each in values for name in each)
    several = [name for name in names if len({each.get(name, "") for each in values}) > 1]
    sweep = new_run_id()
    return [
        msgspec.structs.replace(
            arm, sweep=sweep, axes={name: each[name] for name in several if each.get(name)}
        )
        for arm, each in zip(found, values, strict=True)
    ]


def _check_mix(found: Sequence[Options]) -> None:
    """Refuse runs that would all be the same: a mix names the model of each request, whosever the run is.

    Engines that are started have another model each to begin with, and the mix's adapters upon it.
    """
    models: dict[tuple[str, str], set[str]] = {}
    for arm in found:
        if arm.workload.mix and arm.start != "launch":
            models.setdefault((arm.backend, arm.url), set()).add(arm.model)
    for several in models.values():
        if len(several) > 1:
            names = ", ".join(map(shown_model, sorted(several)))
            raise UsageError(
                f"a mix says itself which model each request is for, and a run for each of {names} would be "
                "the same again: name one --model beside --mix, or leave --mix out"
            )


def _of_target(options: Options) -> Iterator[Options]:
    workload = options.workload
    models = [options.model] if options.model or not workload.models else workload.models
    engine = {name: values for name, values in workload.engine.items() if name not in options.engine}
    for model in models:
        for chosen in product(*engine.values()):
            settings = dict(zip(engine, chosen, strict=True)) | options.engine
            yield msgspec.structs.replace(options, model=model, engine=settings)


def _values(arm: Options) -> dict[str, str]:
    """An arm's value of everything that may be an axis, as it may be stored."""
    return {
        "backend": arm.backend,
        "address": masked_url(arm.url) if arm.url else "",
        "model": shown_model(arm.model),
        **arm.engine,
    }


def resumed(found: Sequence[Options], store: Store) -> tuple[list[Options], list[RunDir]]:
    """The arms that are left of the newest unfinished sweep of these, and the runs that are finished.

    A UsageError where there is none.
    """
    if len(found) == 1:
        if resume.unfinished(store, found[0]) is None:
            raise UsageError(resume.nothing_to_resume(found, store))
        return [msgspec.structs.replace(found[0], resume=True)], []
    for sweep in _sweeps(store):
        mine = [msgspec.structs.replace(arm, sweep=sweep, resume=True) for arm in found]
        runs = _begun(mine, store)
        if not any(runs):
            continue
        done = [run_dir for run_dir in runs if run_dir is not None and resume.finished(run_dir)]
        if len(done) < len(mine):
            return [arm for arm, run_dir in zip(mine, runs, strict=True) if run_dir not in done], done
    raise UsageError(resume.nothing_to_resume(found, store))


def _begun(mine: Sequence[Options], store: Store) -> list[RunDir | None]:
    """The newest run of each arm, where there is one; arms that are alike have another each."""
    found: list[RunDir | None] = []
    taken: set[str] = set()
    for arm in mine:
        run_dir = next((one for one in resume.found(store, arm) if one.run_id not in taken), None)
        found.append(run_dir)
        taken |= {run_dir.run_id} if run_dir is not None else set()
    return found


def _sweeps(store: Store) -> Iterator[str]:
    """The sweeps of a store, newest first."""
    told: set[str] = set()
    for run_dir in store.runs():
        try:
            sweep = run_dir.plan().sweep
        except StoreError:
            continue
        if sweep and sweep not in told:
            told.add(sweep)
            yield sweep
