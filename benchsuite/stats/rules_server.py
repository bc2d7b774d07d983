"""Rules about the server: its slots, its own account of time, its model, its GPU."""

from benchsuite.money.evidence import contradiction
from benchsuite.stats.facts import Facts
from benchsuite.stats.warned import percent, warning
from benchsuite.types import Warning

_SHOWN_MODELS = 3


def over_slots(facts: Facts) -> Warning | None:
    """More in flight than the server works on at once."""
    if facts.slots is None or facts.in_flight <= facts.slots:
        return None
    waiting, slots = facts.in_flight - facts.slots, "slot" if facts.slots == 1 else "slots"
    if facts.slots_assumed:
        once = "one" if facts.slots == 1 else str(facts.slots)
        text = (
            f"{waiting} of {facts.in_flight} may wait in the server's queue: such servers work on {once} "
            "at a time unless they were started for more, and this one doesn't say"
        )
    else:
        text = f"{waiting} of {facts.in_flight} wait in the server's queue, which has {facts.slots} {slots}"
    advice = "start the server with more slots, or read TTFT as mostly waiting"
    return warning(
        "over_slots", "told", text, advice, in_flight=facts.in_flight, slots=facts.slots, waiting=waiting
    )


def server_account(facts: Facts) -> Warning | None:
    """The server's own time to the first token (or to the end) against ours."""
    rest, ttft = facts.server_rest_ms, facts.ttft_p50_ms
    if rest is None or not ttft:
        return None
    whose = "time to first token" if facts.server_tells_first else "time for an answer"
    numbers = {"rest_ms": rest, "ttft_ms": ttft}
    if rest < -max(1.0, 0.02 * ttft):
        text = f"the server's own {whose} is {-rest:.3g} ms longer than ours, which can't be"
        advice = "its definition is another one than ours, or its clock is off: don't mix the two"
        return warning("server_account", "told", text, advice, **numbers)
    if facts.server_tells_first and facts.server_tells_queue and rest > max(5.0, 0.2 * ttft):
        text = f"{rest:.3g} ms of TTFT ({percent(rest / ttft)}) are in no account of the server's"
        advice = "look at the network, at proxies, and at its front end (template, tokenizer)"
        return warning("server_account", "told", text, advice, **numbers)
    return None


def wrong_model(facts: Facts) -> Warning | None:
    """Some servers answer whatever model is asked for with the one that they have."""
    listed = facts.models
    # Ollama lists `name:latest` and takes `name`.
    if not facts.model or not listed or {facts.model, f"{facts.model}:latest"} & set(listed):
        return None
    more = ", …" if len(listed) > _SHOWN_MODELS else ""
    text = f"asked for {facts.model}, the server lists {', '.join(listed[:_SHOWN_MODELS])}{more}"
    advice = "give --model as the server lists it"
    return warning("wrong_model", "suspect", text, advice, listed=len(listed))


def gpu_contradicted(facts: Facts) -> Warning | None:
    """Dollars are those of the GPU that was stated."""
    doubt = contradiction(facts.gpu, facts.gpus, facts.server_gpu, facts.gpus_used, facts.gpu_priced)
    if doubt is None:
        return None
    return warning("gpu_contradicted", "suspect", doubt.message, doubt.advice)
