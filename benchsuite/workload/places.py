"""What a point is called beside others: its load, and whatever else tells them apart."""

from collections.abc import Iterable, Iterator, Sequence

from benchsuite.types import Length, Point
from benchsuite.workload.spreads import described


def place_of(point: Point, points: Iterable[Point]) -> str:
    """`8 in flight, 512 in, warm cache`: the load always, of the rest what differs among the points."""
    return ", ".join([point.label, *beside_load(point, tuple(points))])


def in_full(point: Point, points: Sequence[Point] = ()) -> str:
    """`8 in flight, 512 in, 64 out, 50 % shared`: all of it; a cold cache where the `points` differ in it."""
    prompt = described(point.prompt_spread) if point.prompt_spread else f"{point.prompt_tokens:,}"
    output = described(point.output_spread) if point.output_spread else f"{point.output_tokens:,}"
    unsaid = point.cache == "cold" and not any(cache_apart(point, points))
    cache = "" if unsaid else f", {_named_cache(point)}"
    return f"{point.label}, {prompt} in, {output} out{cache}"


def beside_load(point: Point, points: Sequence[Point]) -> tuple[str, ...]:
    """The words of a place that aren't its load: lengths and cache, where the points differ in them."""
    return (*lengths_apart(point, points), *cache_apart(point, points))


def lengths_apart(point: Point, points: Sequence[Point]) -> Iterator[str]:
    """`512 in` and `64 out`, where the points differ in them."""
    for words, word in ((prompt_words, "in"), (output_words, "out")):
        if len({words(each, points) for each in points}) > 1:
            yield f"{words(point, points)} {word}"


def spreads_apart(point: Point, points: Sequence[Point]) -> Iterator[str]:
    """`20 to 40 (uniform) in` or `prompts of one length`, where some have the same mean and differ."""
    for length, what, word in ((_prompt, "prompts", "in"), (_output, "answers", "out")):
        lengths = {length(each) for each in points}
        if len(lengths) > len({mean for mean, _ in lengths}):
            _, drawn = length(point)
            yield f"{described(drawn)} {word}" if drawn else f"{what} of one length"


def cache_apart(point: Point, points: Sequence[Point]) -> Iterator[str]:
    """`cold cache` or `50 % shared`, where the points differ in it."""
    if len({cache_words(each) for each in points}) > 1:
        yield _named_cache(point)


def cache_words(point: Point) -> str:
    """`cold`, `warm`, `shared`, or `50 % shared` where so much was asked."""
    return point.cache if point.hit_ratio is None else f"{100 * point.hit_ratio:g} % {point.cache}"


def _named_cache(point: Point) -> str:
    return f"{cache_words(point)} cache" if point.hit_ratio is None else cache_words(point)


def prompt_words(point: Point, points: Sequence[Point]) -> str:
    """A prompt's length: `512`, what it is drawn from only where another point has the same mean."""
    return _length(_prompt(point), {_prompt(each) for each in points})


def output_words(point: Point, points: Sequence[Point]) -> str:
    """The same of an answer's length."""
    return _length(_output(point), {_output(each) for each in points})


def _length(asked: tuple[int, Length | None], among: set[tuple[int, Length | None]]) -> str:
    mean, drawn = asked
    alike = [each for each, _ in among if each == mean]
    return described(drawn) if drawn is not None and len(alike) > 1 else f"{mean:,}"


def _prompt(point: Point) -> tuple[int, Length | None]:
    return point.prompt_tokens, point.prompt_spread


def _output(point: Point) -> tuple[int, Length | None]:
    return point.output_tokens, point.output_spread
