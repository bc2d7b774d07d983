"""Rules about bodies sent word for word, and which of the others ask what such bodies don't promise."""

from benchsuite.stats import rules_prompts
from benchsuite.stats.facts import Facts
from benchsuite.stats.warned import percent, warning
from benchsuite.types import Warning

ASKED_OF_PROMPTS = frozenset(
    {
        rules_prompts.output_tokens,
        rules_prompts.prompt_cut,
        rules_prompts.prompt_tokens,
        rules_prompts.raised,
        rules_prompts.cache_cold,
        rules_prompts.cache_warm,
        rules_prompts.cache_shared,
        rules_prompts.no_visible_answer,
        rules_prompts.speculation,
    }
)
"""Rules about lengths, caches and random words: of the user's own bodies nothing of that was asked."""


def sent_again(facts: Facts) -> Warning | None:
    """Bodies that were sent more than once may have been answered from a prefix cache."""
    bodies = facts.workload.bodies
    if bodies is None or facts.requests <= bodies.number:
        return None
    times = facts.requests / bodies.number
    text = f"each body was sent {times:.3g} times"
    if facts.hit_ratio is not None:
        text += f", and {percent(facts.hit_ratio)} of prompt tokens came from the server's cache"
    advice = "a prefix cache knows them then: give more lines or fewer --requests, or --reset-cache"
    return warning("sent_again", "told", text, advice, times=times, bodies=bodies.number)
