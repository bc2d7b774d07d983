"""Rules about what was sent and what came back: lengths, caches, reasoning, events, speculation."""

import math

from benchsuite.stats.facts import Facts
from benchsuite.stats.lengths import prompt_tolerance
from benchsuite.stats.warned import Level, level, percent, warning
from benchsuite.types import Warning
from benchsuite.workload.mix import ends_by_itself

BLOCK_TOKENS = 32
"""Servers cache whole blocks: so many tokens of a shared prefix may stay uncached wherever its end falls."""

LARGE_BLOCKS_TOKENS = (64, 128)
"""Larger blocks (vLLM has 128 on a CPU) explain more, where what was found is a multiple of them."""

_BLOCKS_TOKENS = (16, 32, *LARGE_BLOCKS_TOKENS)

_EXPLAINED = 0.02
"""So far off its plan a hit ratio may be and still be the plan's, not the server's."""

_TOO_SHORT = "vendors and some servers cache no prompt below 512 to 4,096 tokens: --prompt-tokens 8192"

MOST_TOKENS_PER_EVENT = 1.5


def output_tokens(facts: Facts) -> Warning | None:
    """Answers of another length than asked for; told only where the backend can't force it."""
    asked, mean = facts.asked_output_tokens or facts.point.output_tokens, facts.output_tokens
    if mean is None or not asked or facts.without_usage == facts.ok:
        return None
    off = abs(mean - asked) if facts.output_tokens_off is None else facts.output_tokens_off
    bad: Level | None = level(off / asked, 0.02, 0.10)
    if bad is None:
        return None
    text = f"answers had {mean:.1f} tokens on average, {_tokens(asked)} were asked for"
    if ends_by_itself(facts.workload):
        bad, advice = "told", "an answer of a given form ends by itself; compare rates, not E2E"
    elif facts.exact_output:
        advice = "check that the server accepts ignore_eos and has enough context"
    else:
        bad, advice = "told", "this backend takes the length as a limit; compare rates, not E2E"
    return warning("output_tokens", bad, text, advice, asked=asked, mean=mean)


def _tokens(asked: float) -> str:
    """A number of tokens, or the mean of several."""
    return f"{asked:g}" if asked == int(asked) else f"{asked:.1f}"


def prompt_cut(facts: Facts) -> Warning | None:
    """Requests of whose prompt the server took only a part: another question, and a cheaper one."""
    if not facts.prompts_cut or facts.least_prompt is None:
        return None
    asked = facts.cut_from or facts.point.prompt_tokens
    text = (
        f"the server cut the prompt of {facts.prompts_cut} of {facts.ok} requests: "
        f"as few as {facts.least_prompt} of {asked} tokens were read"
    )
    needed = asked + facts.point.output_tokens
    context = facts.context_tokens
    has = "" if context is None else f", it says {context:,}"
    advice = f"give it a context of {needed:,} tokens or more per slot{has}; or ask for fewer --prompt-tokens"
    least = facts.least_prompt
    return warning(
        "prompt_cut", "invalid", text, advice, requests=facts.prompts_cut, least=least, asked=asked
    )


def prompt_tokens(facts: Facts) -> Warning | None:
    """Prompts of another length than asked for; nothing was asked where texts are to be equal."""
    asked, mean = facts.asked_prompt_tokens or facts.point.prompt_tokens, facts.prompt_tokens
    # Cut ones have a rule of their own.
    if mean is None or not asked or facts.workload.same == "text" or (facts.prompts_cut and mean < asked):
        return None
    off = abs(mean - asked) if facts.prompt_tokens_off is None else facts.prompt_tokens_off
    bad = level(off, max(0.01 * asked, 1.0), prompt_tolerance(asked))
    if bad is None:
        return None
    text = f"prompts had {mean:.1f} tokens on average, {_tokens(asked)} were asked for"
    if facts.overhead >= asked:
        advice = f"the chat template alone takes {facts.overhead}; ask for more --prompt-tokens"
    elif mean < asked:
        advice = "the server may cut prompts: give it more context per slot"
    else:
        advice = "the server may add a system prompt: ask for more --prompt-tokens, or take it out"
    return warning("prompt_tokens", bad, text, advice, asked=asked, mean=mean)


def cache_cold(facts: Facts) -> Warning | None:
    """Cold prompts that were found in the cache beyond the chat template's own prefix."""
    if facts.point.cache != "cold":
        return None
    if facts.ok and facts.hit_ratio is None:
        text = "how many prompt tokens came from the server's cache is unknown, not 0"
        advice = f"it doesn't report them; cold rests on this: {facts.caching or 'prompts are new'}"
        return warning("cache_cold", "told", text, advice)
    if not facts.cached_excess or not facts.prompt_tokens:
        return None
    share = facts.cached_excess / facts.prompt_tokens
    bad: Level = "invalid" if share > 0.02 else "suspect"
    text = f"{facts.cached_excess:.1f} prompt tokens a request came from a cache that was to be cold"
    advice = "leave --nonce out, so that each run's prompts are new; or measure a warm cache on purpose"
    return warning("cache_cold", bad, text, advice, tokens=facts.cached_excess, share=share)


def cache_warm(facts: Facts) -> Warning | None:
    """Warm prompts that weren't found in the cache.

    What can be asked for is what the server's block size lets it reuse: the best request seen, but
    at least half the prompt.
    """
    hit, best = facts.hit_ratio, facts.best_hit_ratio
    if facts.point.cache != "warm" or not facts.ok:
        return None
    if hit is None or best is None:
        return _untold("cache_warm")
    asked = max(best, 0.5)
    bad = level(asked - hit, 0.02, 0.05)
    if bad is None:
        return None
    could = f"the best request found {percent(best)}"
    if best < asked:
        could += ", and half is the least to ask for"
    text = f"{percent(hit)} of prompt tokens came from the cache; {could}"
    advice = "give the server more cache, or switch its prefix cache on"
    if not best:
        advice = f"{advice}; {_TOO_SHORT}"
    return warning("cache_warm", bad, text, advice, hit_ratio=hit, asked=asked)


def cache_shared(facts: Facts) -> Warning | None:
    """A share of prompt tokens from the cache that isn't the plan's, or a plan that isn't what was asked.

    The worse of both; where they are as bad, what the server did. Of conversations the ratio asked is that of
    first turns.
    """
    best = facts.best_hit_ratio
    hit = facts.hit_ratio if facts.hits_asked is None else facts.hits_reached
    if facts.point.cache != "shared" or not facts.ok:
        return None
    if hit is None or best is None:
        return _untold("cache_shared")
    reached, planned = _reached(facts, hit, best), _planned(facts, hit)
    if planned is not None and (reached is None or (planned.level, reached.level) == ("invalid", "suspect")):
        return planned
    return reached


def _planned(facts: Facts, hit: float) -> Warning | None:
    """Prompts of which no cache could hold what was asked: too short ones, or too many groups for them."""
    asked, planned, whose = facts.point.hit_ratio, facts.hits_asked, "prompt tokens"
    if facts.point.talks and facts.first_hits_reached is not None:
        # Later turns find what was said before as well, and nobody asked how much that is.
        hit, planned, whose = facts.first_hits_reached, facts.first_hits_asked, "first turns' prompt tokens"
    if asked is None or planned is None:
        return None
    off = abs(planned - asked)
    if abs(hit - planned) <= _EXPLAINED:
        off = max(off, abs(hit - asked))
    bad = level(off, 0.02, 0.05)
    if bad is None:
        return None
    text = (
        f"{percent(hit)} of {whose} came from the cache, {percent(asked)} were asked for: these "
        f"lengths and groups allow no nearer share than {percent(planned)}"
    )
    if planned > asked:
        advice = "ask for longer prompts, or a higher hit ratio"
    else:
        advice = "ask for longer prompts, fewer groups or more requests: what none had before isn't found"
    return warning("cache_shared", bad, text, advice, hit_ratio=hit, asked=asked, planned=planned)


def _reached(facts: Facts, hit: float, best: float) -> Warning | None:
    """A shared prefix that wasn't found in the cache, or more than it.

    Servers cache whole blocks, and part of the chat template may follow the prompt: what the best request
    found is enough where that explains what it lacks, and told; it seldom does where lengths are drawn. Of a
    trace it is only told: there it is what was to be found out.
    """
    whose, whole = "prompt tokens", (facts.point.talks and facts.prompt_tokens) or facts.point.prompt_tokens
    if facts.hits_asked is not None and facts.hits_asked == facts.first_hits_asked:
        # Later turns with the server's own answers have no plan.
        whose, whole = "first turns' prompt tokens", facts.point.prompt_tokens
    planned = (facts.workload.shared_tokens or whole // 2) / whole
    if facts.hits_asked is not None:
        planned = facts.hits_asked
    elif facts.point.hit_ratio is not None:
        planned = facts.point.hit_ratio
    shared = round(planned * whole)
    if facts.workload.trace is not None and facts.workload.trace.blocks:
        text = f"{percent(hit)} of prompt tokens came from the cache, {percent(planned)} would at best"
        missed = planned - hit > 0.005
        advice = "the rest was forgotten, or asked again too soon" if missed else "it forgot nothing"
        return warning("cache_shared", "told", text, advice, hit_ratio=hit, asked=planned)
    least = max(0.0, shared - facts.overhead - BLOCK_TOKENS) / whole
    large = _whole_blocks(best * whole, shared, LARGE_BLOCKS_TOKENS)
    asked = best if large else min(planned, max(best, least))
    # Where each trial begins with an empty cache the first of each slot find nothing.
    emptied = min(1.0, facts.in_flight * facts.workload.trials / facts.ok) if facts.cache_reset else 0.0
    asked *= 1 - emptied
    text = f"{percent(hit)} of {whose} came from the cache, {percent(planned)} are shared"
    bad: Level | None
    if bad := level(asked - hit, 0.02, 0.05):
        advice = "give the server more cache, switch its prefix cache on, or send more --requests"
        if not best:
            advice = f"{advice}; {_TOO_SHORT}"
    elif not best and planned and not facts.cache_reset:
        # The block and the template may explain it, but then nothing shared was measured either.
        bad, advice = "suspect", f"ask for longer prompts; {_TOO_SHORT}"
    elif bad := level(hit - planned, 0.02, 0.05):
        advice = "leave --nonce out, so that what isn't shared is new"
    elif planned * (1 - emptied) - hit > _EXPLAINED:
        bad, block = "told", _whole_blocks(best * whole, shared, _BLOCKS_TOKENS)
        text += f": blocks of {block} tokens" if block else ": whole blocks, and the chat template's end,"
        text += " allow no more of such prompts"
        needed = math.ceil((block or BLOCK_TOKENS + facts.overhead) / _EXPLAINED)
        advice = f"ask for prompts of {needed:,} tokens or more, of which that is 2 % at most"
    else:
        return None
    return warning("cache_shared", bad, text, advice, hit_ratio=hit, asked=planned)


def _whole_blocks(found: float, shared: int, sizes: tuple[int, ...]) -> int:
    """The size of blocks of which the prefix holds as many as were found, to a token; 0: none of these."""
    fitting = (size for size in sizes if shared >= size and abs(found - shared // size * size) <= 1)
    return next(fitting, 0)


def _untold(code: str) -> Warning:
    text = "the server doesn't say how much of the prompts it had cached"
    return warning(code, "told", text, "look at its own statistics")


def missing_usage(facts: Facts) -> Warning | None:
    """Tokens are counted as events where the server doesn't count them."""
    if not facts.without_usage:
        return None
    text = f"{facts.without_usage} of {facts.ok} answers had no usage: each token event counts as one token"
    advice = "switch usage on in the server, if it can"
    return warning("missing_usage", "told", text, advice, answers=facts.without_usage)


def no_visible_answer(facts: Facts) -> Warning | None:
    """Answers that never got past their reasoning have no TTFO."""
    if not facts.unseen:
        return None
    asked = facts.point.output_tokens
    who = "" if facts.unseen == facts.ok else f" for {facts.unseen} of {facts.ok} requests"
    text = f"no visible answer in {asked} output tokens{who}: all were reasoning"
    advice = "ask for more --output-tokens, or --reasoning off"
    return warning("no_visible_answer", "told", text, advice, answers=facts.unseen)


def several_tokens(facts: Facts) -> Warning | None:
    """Gaps between events aren't gaps between tokens where an event holds several."""
    held = facts.tokens_per_event
    if held is None or held <= MOST_TOKENS_PER_EVENT:
        return None
    text = f"an event holds {held:.2g} tokens on average: ITL counts events"
    advice = "read TPOT, not ITL; some servers can be set to send every token by itself"
    return warning("several_tokens", "told", text, advice, tokens_per_event=held)


def raised(facts: Facts) -> Warning | None:
    """Drawn lengths that no prompt can have."""
    if not facts.raised or facts.raised_to is None:
        return None
    text = (
        f"the lengths drawn for {facts.raised} of {facts.ok} prompts were less than a prompt can have here: "
        f"these had {facts.raised_to} tokens"
    )
    advice = f"give the distribution a low of {facts.raised_to + 1} or more, so that it is what was asked"
    bad: Level = "told" if facts.raised < 0.05 * facts.ok else "suspect"
    return warning("raised", bad, text, advice, requests=facts.raised, tokens=facts.raised_to)


def speculation(facts: Facts) -> Warning | None:
    """How many drafted tokens are kept depends on the text: random words are no text that anybody sends."""
    if facts.acceptance is None:
        return None
    random = facts.workload.text == "random"
    after = "random words" if random else facts.workload.text
    text = f"the server speculates: {percent(facts.acceptance)} of its drafts were kept, after {after}"
    if random:
        advice = "real text is guessed more or less often: take TPOT from --text prose, or switch it off"
    else:
        advice = "other text is guessed more or less often, and TPOT with it"
    return warning("speculation", "told", text, advice, acceptance=facts.acceptance)
