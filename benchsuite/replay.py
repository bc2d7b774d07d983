"""What a run says beforehand of bodies and a dataset's prompts, sent word for word, and of a trace."""

import msgspec

from benchsuite.asked import Options
from benchsuite.driver import OWN_WORDS
from benchsuite.target import Resolved, Tell
from benchsuite.types import Manifest, Message, Request, Stage, Workload
from benchsuite.workload.bodies import Lines
from benchsuite.workload.datasets.language import items_of
from benchsuite.workload.points import points
from benchsuite.workload.replaying import described
from benchsuite.workload.trace_files import Rows
from benchsuite.workload.traces import ideal_share, replayed, too_short, without_long


def tell_bodies(who: Resolved, workload: Workload, bodies: Lines, tell: Tell) -> None:
    """How many there are, whether some are sent again, ask for no stream or for another model, a line each.

    What the driver itself refuses (a model that it has to be told) is refused here, before anything is sent.
    """
    facts, asks = bodies.facts, _asks_for_a_stream(who)
    text = f"sending the {facts.number:,} bodies of {facts.name} word for word, in their order"
    asked = (workload.requests or 0) * workload.trials
    if asked > facts.number:
        text += f", and from the first again: {asked:,} requests are asked for"
    elif workload.requests is None:
        text += ", and from the first again if there is time"
    tell(Stage(name="fit", text=text))
    if bodies.models - {who.target.model} and who.target.model:
        named = ", ".join(sorted(bodies.models))
        text = f"the bodies name {named}; the run is kept as {who.target.model}, which --model changes"
        tell(Stage(name="fit", text=text))
    if bodies.unstreamed and asks:
        some = bodies.unstreamed < facts.number
        which = f"{bodies.unstreamed:,} of them don't" if some else "none of them does"
        text = f'{which} say "stream": true: without it answers come whole and have no TTFT'
        tell(Stage(name="fit", text=text))


def tell_dataset(workload: Workload, tell: Tell) -> None:
    """How many items there are, and whether a prefix cache may know them."""
    source = workload.dataset
    assert source is not None
    asked = (workload.requests or 0) * workload.trials
    order = "in an order of its own each time"
    if workload.salted:
        text = f"asking {items_of(source)} {order}, a line of new words before each"
    else:
        text = f"asking {items_of(source)} word for word, {order}"
        if workload.requests is None or asked * len(points(workload)) > source.number:
            text += "; a prefix cache may know those that come again (--cache cold: none can)"
    tell(Stage(name="fit", text=text))


def own_words(caching: str, workload: Workload) -> str:
    """How the cache word comes true, where prompts are a dataset's and begin with no words of ours."""
    if workload.dataset is None or workload.salted:
        return caching
    return caching.replace(OWN_WORDS, "each prompt is the dataset's, word for word")


def fitting(options: Options, who: Resolved) -> Options:
    """The same, without the rows of its trace that the server's context can't hold; UsageError: none left."""
    rows, context_tokens = options.material.rows, who.identity.context_tokens
    if not isinstance(rows, Rows) or context_tokens is None:
        return options
    workload, rows = without_long(options.workload, rows, context_tokens)
    material = msgspec.structs.replace(options.material, rows=rows)
    return msgspec.structs.replace(options, workload=workload, material=material)


def tell_trace(manifest: Manifest, options: Options, who: Resolved, tell: Tell) -> None:
    """What of a trace is replayed, what isn't as recorded, and what a cache could find of it at best."""
    workload, rows = manifest.workload, options.material.rows
    if (trace := workload.trace) is None:
        return
    tell(Stage(name="fit", text=f"replaying {described(workload)}"))
    if trace.dropped:
        context = f"the server's context of {who.identity.context_tokens:,} tokens"
        text = f"{trace.dropped:,} of its {trace.number:,} rows are longer than {context} and are left out"
        tell(Stage(name="fit", text=text))
    if manifest.lengths is not None and (short := too_short(workload, rows, manifest.lengths)):
        some = f"{short:,} prompts are" if short > 1 else "1 prompt is"
        text = f"{some} shorter than the server's chat template allows: as short as can be"
        tell(Stage(name="fit", text=text))
    if trace.blocks and "shared" in workload.cache:
        share = ideal_share(replayed(workload, rows))
        text = f"a cache that forgets nothing would hold {100 * share:.1f} % of its prompt tokens"
        tell(Stage(name="fit", text=text))


def _asks_for_a_stream(who: Resolved) -> bool:
    """Is it the body that asks this backend for a stream? Elsewhere the path does, or it is the default."""
    try:
        own = msgspec.json.decode(who.driver.encode(placeholder(), who.target).body)
    except msgspec.DecodeError:
        return False
    return isinstance(own, dict) and own.get("stream") is True


def placeholder() -> Request:
    """A request of the least kind, for what a driver says besides its body."""
    return Request(
        index=0,
        phase="warm_up",
        messages=(Message(role="user", content=""),),
        max_output_tokens=1,
        min_output_tokens=1,
        cache="cold",
    )
