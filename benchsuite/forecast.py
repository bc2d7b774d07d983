"""How long a run will take, how many tokens it will move and what they will cost: told before it starts."""

import math
from collections.abc import Sequence

import msgspec

from benchsuite.asked import Options
from benchsuite.driver import load
from benchsuite.money.gpus import price_of
from benchsuite.money.tokens import listed_price, stated_price
from benchsuite.types import Noun, Point, Progress, TokenPrice, Workload
from benchsuite.workload.draw import Material
from benchsuite.workload.order import Step, every_step, warm_ups
from benchsuite.workload.points import own_instants, points
from benchsuite.workload.spreads import mean

GUESSED_FIRST_TOKEN_S = 0.3
GUESSED_TOKEN_S = 0.02
"""How fast a server is taken to be until its first warm-up shows it."""

_STEP_S = 0.5
"""What a trial takes besides its requests: starting workers, decoding."""
_SECONDS_AN_HOUR = 3600.0
_SAID_IN_S, _SAID_IN_MIN = 90.0, 5400.0
_CENT, _MILLION = 0.01, 1e6


class Forecast(Noun, frozen=True, kw_only=True):
    """What is expected of one run or of several. Tokens None: a file decides and doesn't tell.

    `guessed`: the time follows from how fast the answers come, which isn't known yet. `usd` None: no price
    is known; `tokens_usd` is the part of it that a hosted API bills.
    """

    points: int
    trials: int
    seconds: float
    guessed: bool
    prompt_tokens: int | None
    output_tokens: int | None
    usd: float | None
    tokens_usd: float

    def plus(self, other: "Forecast") -> "Forecast":
        """Both, one after the other; what one of them doesn't know isn't known of both."""
        return Forecast(
            points=self.points + other.points,
            trials=self.trials,
            seconds=self.seconds + other.seconds,
            guessed=self.guessed or other.guessed,
            prompt_tokens=_sum(self.prompt_tokens, other.prompt_tokens),
            output_tokens=_sum(self.output_tokens, other.output_tokens),
            usd=None if self.usd is None or other.usd is None else self.usd + other.usd,
            tokens_usd=self.tokens_usd + other.tokens_usd,
        )

    def times(self, share: float) -> "Forecast":
        """A share of it, where the rest is done."""
        return msgspec.structs.replace(
            self,
            seconds=self.seconds * share,
            prompt_tokens=_share_of(self.prompt_tokens, share),
            output_tokens=_share_of(self.output_tokens, share),
            usd=None if self.usd is None else self.usd * share,
            tokens_usd=self.tokens_usd * share,
        )


def forecast(options: Options) -> Forecast:
    """What one run will take, from what was asked alone: nobody is contacted."""
    workload, material = options.workload, options.material
    found = points(workload)
    seed = workload.seed if options.seed is None else options.seed
    planned = tuple(every_step(workload, len(found), seed))
    each = [_of_point(workload, point, material, planned) for point in found]
    seconds, requests = sum(one[0] for one in each), [one[1] for one in each]
    prompts = _total(requests, [_prompt_tokens(workload, point, material) for point in found])
    outputs = _total(requests, [_output_tokens(point, material) for point in found])
    by_token = token_price(options)
    tokens_usd = 0.0
    if by_token is not None and prompts is not None and outputs is not None:
        tokens_usd = (prompts * by_token.usd_per_m_input + outputs * by_token.usd_per_m_output) / 1e6
    by_hour = price_of(options.gpu, options.gpu_price)
    usd = tokens_usd if by_token is not None and prompts is not None and outputs is not None else None
    if by_hour is not None:
        usd = by_hour.count * by_hour.usd_per_gpu_hour * seconds / _SECONDS_AN_HOUR
    return Forecast(
        points=len(found),
        trials=workload.trials,
        seconds=seconds,
        guessed=not workload.batch and any(_is_guess(workload, point) for point in found),
        prompt_tokens=prompts,
        output_tokens=outputs,
        usd=usd,
        tokens_usd=tokens_usd,
    )


def token_price(options: Options, model: str = "", url: str = "") -> TokenPrice | None:
    """What tokens cost: as stated, as listed under another name, or as listed for a hosted model.

    `model` and `url` are those of a server that has answered; before, what was asked for.
    """
    batch, model = options.workload.batch, model or options.model
    if options.token_price:
        return stated_price(options.token_price)
    if options.price_as:
        provider, _, named = options.price_as.partition("/")
        return listed_price(named or model, provider=provider, batch=batch)
    if options.gpu or options.gpu_price or options.start == "launch" or not model:
        return None
    default_url = load(options.backend, options.options).default_url
    url = url or options.url or default_url
    if not url.startswith("https://"):
        return None
    found = listed_price(model, url=url, batch=batch)
    if found is None and url == default_url:
        found = listed_price(model, provider=options.backend, batch=batch)
    return found


def _of_point(
    workload: Workload, point: Point, material: Material, planned: Sequence[Step]
) -> tuple[float, float]:
    """(seconds, requests) of all trials of a point, with its warm-ups."""
    e2e_s = guessed_s(workload, point)
    mine = [step for step in planned if step.point == point.index]
    warming = sum(warm_ups(workload, point, step) for step in mine if not step.trial)
    measured = trial_requests(workload, point, e2e_s, material)
    seconds = sum(step_s(workload, point, step, e2e_s, material) for step in mine)
    return seconds, workload.trials * measured + warming


def step_s(workload: Workload, point: Point, step: Step, e2e_s: float, material: Material) -> float:
    """Seconds of a trial or of a warm-up, where an answer takes `e2e_s`."""
    if step.trial:
        return trial_s(workload, point, e2e_s, material) + _STEP_S
    return _warm_up_s(workload, point, warm_ups(workload, point, step), e2e_s)


def guessed_s(workload: Workload, point: Point) -> float:
    """Seconds until an answer is whole, before any was seen."""
    return GUESSED_FIRST_TOKEN_S + GUESSED_TOKEN_S * (point.output_tokens or 100)


def trial_s(workload: Workload, point: Point, e2e_s: float, material: Material) -> float:
    """Seconds of one measured trial, where an answer takes `e2e_s`."""
    if workload.batch:
        return 0.0
    if point.stages:
        return sum(stage.seconds for stage in point.stages) + e2e_s
    if own_instants(workload, point):
        return _replayed(workload, material)[0] + e2e_s
    if workload.seconds is not None:
        return workload.seconds + e2e_s
    requests = float(_counted_out(workload, material) or 0)
    if point.load == "open":
        return requests / _turns(workload) / (point.rate or 1.0) + e2e_s
    slots = point.concurrency or max(1.0, requests)
    return math.ceil(requests / slots) * (e2e_s + _think_s(workload))


def trial_requests(workload: Workload, point: Point, e2e_s: float, material: Material) -> float:
    """Requests of one measured trial, where an answer takes `e2e_s`."""
    if point.stages:
        return sum(_staged(stage.rate, stage.concurrency, stage.seconds, e2e_s) for stage in point.stages)
    if own_instants(workload, point):
        return float(_replayed(workload, material)[1])
    if (number := _counted_out(workload, material)) is not None:
        return float(number)
    seconds = workload.seconds or 0.0
    if point.load == "open":
        return (point.rate or 0.0) * seconds * _turns(workload)
    return (point.concurrency or 1) * max(1.0, seconds / (e2e_s + _think_s(workload)))


def _counted_out(workload: Workload, material: Material) -> int | None:
    """Requests of a trial that ends by their number: as asked, else one a row of the trace; None: by time."""
    if workload.requests is not None or workload.seconds is not None:
        return workload.requests
    return len(material.rows) or None


def _staged(
    rate: tuple[float, float] | None, slots: tuple[int, int] | None, seconds: float, e2e_s: float
) -> float:
    """Requests of one stage."""
    if rate is not None:
        return sum(rate) / 2 * seconds
    return sum(slots or (0, 0)) / 2 * seconds / e2e_s


def _replayed(workload: Workload, material: Material) -> tuple[float, int]:
    """(seconds, rows) of a trace's replay."""
    rows = material.rows[: workload.requests]
    at_s = [row.at_ns / 1e9 / workload.time_scale for row in rows]
    if workload.seconds is not None:
        at_s = [one for one in at_s if one <= workload.seconds]
    return (at_s[-1] if at_s else 0.0), len(at_s)


def _warm_up_s(workload: Workload, point: Point, requests: int, e2e_s: float) -> float:
    """Seconds of warm-ups of so many requests in all."""
    if not requests:
        return 0.0
    if point.load == "open":
        return requests / (point.rate or 1.0) + e2e_s
    rounds = requests / (point.concurrency or 8) * e2e_s
    return max(rounds, workload.warm_up_seconds) + _STEP_S


def _is_guess(workload: Workload, point: Point) -> bool:
    """Does the time depend on how fast the server is?"""
    return not (point.stages or workload.seconds is not None or point.load == "open")


def _turns(workload: Workload) -> float:
    return mean(workload.turns)


def _think_s(workload: Workload) -> float:
    """Seconds that a user thinks, on average over the requests."""
    turns = _turns(workload)
    return mean(workload.think_s) * (turns - 1) / turns


def _prompt_tokens(workload: Workload, point: Point, material: Material) -> float | None:
    """Mean tokens of a prompt; None: a file decides and doesn't tell."""
    if point.prompt_tokens:
        grown = mean(workload.user_tokens) + point.output_tokens
        return point.prompt_tokens + grown * (_turns(workload) - 1) / 2
    return _mean_of([row.prompt_tokens for row in material.rows or material.items])


def _output_tokens(point: Point, material: Material) -> float | None:
    """Mean tokens of an answer, at most."""
    if point.output_tokens:
        return point.output_tokens
    return _mean_of([row.output_tokens for row in material.rows or material.items])


def _mean_of(found: Sequence[int]) -> float | None:
    return sum(found) / len(found) if found and all(found) else None


def _total(requests: Sequence[float], tokens: Sequence[float | None]) -> int | None:
    found = [number * each for number, each in zip(requests, tokens, strict=True) if each is not None]
    return round(sum(found)) if len(found) == len(tokens) else None


def _share_of(tokens: int | None, share: float) -> int | None:
    return None if tokens is None else round(tokens * share)


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


# ---------------------------------------------------------------- in words


def in_words(found: Forecast) -> str:
    """`3 points × 3 trials, about 12 min, 1.2 M tokens in, 0.3 M out, about $1.90`."""
    parts = [f"{counted(found.points, 'point')} × {counted(found.trials, 'trial')}", amounts_in_words(found)]
    return ", ".join(filter(None, parts))


def amounts_in_words(found: Forecast) -> str:
    """`about 12 min, 1.2 M tokens in, 0.3 M out, about $1.90`: as much of it as is known."""
    parts = []
    if found.seconds:
        guess = "roughly " if found.guessed else "about "
        parts.append(f"{guess}{told_s(found.seconds)}")
    if found.prompt_tokens is not None:
        parts.append(f"{tokens_in_words(found.prompt_tokens)} tokens in")
    if found.output_tokens is not None:
        parts.append(f"{tokens_in_words(found.output_tokens)} out")
    if found.usd is not None:
        parts.append(usd_in_words(found.usd))
    return ", ".join(parts)


def usd_in_words(usd: float) -> str:
    """`about $1.90`."""
    return f"about ${usd:,.2f}" if usd >= _CENT else "less than a cent"


def told_s(seconds: float) -> str:
    """A length of time as people say it: `40 s`, `12 min`, `3.5 h`."""
    if seconds < _SAID_IN_S:
        return f"{max(1, round(seconds))} s"
    if seconds < _SAID_IN_MIN:
        return f"{round(seconds / 60)} min"
    return f"{seconds / _SECONDS_AN_HOUR:.3g} h"


def counted(number: int, what: str) -> str:
    """`1 trial`, `3 trials`."""
    return f"{number} {what}{'s' * (number != 1)}"


def tokens_in_words(number: int) -> str:
    """`20,160`, `1.2 M`."""
    if number >= _MILLION / 10:
        return f"{number / _MILLION:.2g} M" if number < 10 * _MILLION else f"{number / _MILLION:,.0f} M"
    return f"{number:,}"


# ---------------------------------------------------------------- while it goes on


class Remaining:
    """How long the steps of a run that aren't done will take, better known with every warm-up.

    `more`: so many runs of a sweep come after it, each taken to last as long as all of its steps.
    """

    def __init__(
        self,
        workload: Workload,
        run_points: Sequence[Point],
        steps: Sequence[Step],
        material: Material,
        more: int = 0,
    ) -> None:
        self._all, self._more = tuple(steps), more
        self._workload, self._points, self._material = workload, run_points, material
        self._left = list(steps)
        self._e2e_s: dict[int, float] = {}

    def learn(self, point: int, e2e_s: float | None) -> None:
        """An answer at this point takes so long; None: nothing was learned."""
        if e2e_s is not None:
            self._e2e_s[point] = e2e_s

    def past(self, step: Step) -> None:
        """A step is over."""
        self._left.remove(step)

    def left_s(self, step: Step, progress: Progress) -> float:
        """Seconds that are left while `step` goes on as `progress` says."""
        later = sum(self._step_s(one) for one in self._left if one != step)
        if progress.total and progress.done:
            now = progress.elapsed_s * max(0, progress.total - progress.done) / progress.done
        else:
            now = max(0.0, self._step_s(step) - progress.elapsed_s)
        return now + later + self._further_s()

    def total_s(self) -> float:
        """Seconds of all that is left."""
        return sum(map(self._step_s, self._left)) + self._further_s()

    def _further_s(self) -> float:
        """Seconds of the runs that come after this one."""
        return self._more * sum(map(self._step_s, self._all)) if self._more else 0.0

    def _answer_s(self, point: Point) -> float:
        """Seconds of an answer: as seen, else guessed, corrected by how far off the guesses were."""
        if point.index in self._e2e_s:
            return self._e2e_s[point.index]
        seen = [
            e2e_s / guessed_s(self._workload, self._points[index]) for index, e2e_s in self._e2e_s.items()
        ]
        return guessed_s(self._workload, point) * (sum(seen) / len(seen) if seen else 1.0)

    def _step_s(self, step: Step) -> float:
        point = self._points[step.point]
        return step_s(self._workload, point, step, self._answer_s(point), self._material)
