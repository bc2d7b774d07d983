"""Rules about checks, and about what a dataset's prompts promise: nothing of lengths, little of caches."""

from benchsuite.stats import rules_prompts
from benchsuite.stats.facts import Facts
from benchsuite.stats.warned import percent, warning
from benchsuite.types import Warning

_LEAST_HITS = 0.02
_LONGEST_TEMPLATE_TOKENS = 64
"""Its length isn't fitted for a dataset; what stands before the first message is rarely as much."""

NOT_ASKED_OF_DATASETS = frozenset(
    {
        rules_prompts.output_tokens,
        rules_prompts.prompt_cut,
        rules_prompts.prompt_tokens,
        rules_prompts.cache_cold,
        rules_prompts.speculation,
    }
)
"""Rules about lengths and made-up words: a dataset's are as long as they are, its answers end alone."""


def sent_again(facts: Facts) -> Warning | None:
    """Prompts sent word for word that a prefix cache knew: told, as nothing else was asked."""
    source, hit = facts.workload.dataset, facts.hit_ratio
    if source is None or facts.workload.salted or hit is None or hit <= _LEAST_HITS:
        return None
    times = facts.requests / source.number
    again = f", each item was sent {times:.3g} times" if times > 1 else ""
    text = f"{percent(hit)} of prompt tokens came from the server's cache{again}"
    advice = "prompts are the dataset's, word for word: --cache cold puts a line of new words before each"
    return warning("dataset_cached", "told", text, advice, hit_ratio=hit, times=times)


def cut_short(facts: Facts) -> Warning | None:
    """Answers that didn't pass and were as long as they might be: the limit may be why."""
    if not facts.failed_at_limit:
        return None
    text = f"{facts.failed_at_limit} answers that didn't pass were as long as they might be"
    return warning("check_cut", "told", text, "allow more --output-tokens", answers=facts.failed_at_limit)


def unjudged(facts: Facts) -> Warning | None:
    """Answers whose right ones weren't at hand any more."""
    if facts.workload.check is None or not facts.unjudged:
        return None
    text = f"{facts.unjudged} of {facts.ok} answers weren't checked: the dataset wasn't at hand any more"
    advice = "the pass rate is that of the others; measure again for all of it"
    return warning("unjudged", "told", text, advice, answers=facts.unjudged)


def salted(facts: Facts) -> Warning | None:
    """Prompts that began with new words, and were found in the cache beyond what a chat template is."""
    found = facts.cached_excess
    if not facts.workload.salted or found is None or found <= _LONGEST_TEMPLATE_TOKENS:
        return None
    text = f"{found:.1f} prompt tokens a request came from a cache that was to be cold"
    advice = "leave --nonce out, so that each run's prompts are new"
    return warning("cache_cold", "suspect", text, advice, tokens=found)
