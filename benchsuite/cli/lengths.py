"""Lengths as people type them: numbers of tokens, or what they are drawn from."""

import re
from typing import Any, Final

import click

_NUMBER: Final = r"\d+(?:\.\d+)?"
_FORMS: Final = (
    (re.compile(rf"uniform:({_NUMBER})-({_NUMBER})"), ("low", "high")),
    (re.compile(rf"(?:normal|lognormal):({_NUMBER}),({_NUMBER})(?:,({_NUMBER}))?"), ("mean", "sd", "high")),
)
_ADVICE: Final = (
    "write 512, or 128,512, or a distribution: uniform:100-500, normal:MEAN,SD or lognormal:MEAN,SD,MOST; "
    "a semicolon stands between several: 'uniform:100-500;lognormal:512,300'"
)


def lengths(text: str) -> tuple[Any, ...]:
    """`128,512` → (128, 512); `uniform:100-500;2048` → (a Spread, 2048)."""
    drawn = ":" in text or ";" in text
    found = tuple(length(part) for part in text.split(";" if drawn else ","))
    if len(set(found)) < len(found):
        raise click.BadParameter(f"{text!r} says the same length twice")
    return found


def length(text: str) -> Any:
    """One length: `512` → 512, `normal:512,64` → a Spread."""
    word = text.strip().lower()
    if word.isascii() and word.isdigit():
        return int(word)
    for form, names in _FORMS:
        if match := form.fullmatch(word):
            given = zip(names, match.groups(), strict=True)
            values = {name: float(value) for name, value in given if value is not None}
            return _spread(word.partition(":")[0], values)
    raise click.BadParameter(f"{text!r} is no length; {_ADVICE}")


def _spread(kind: str, values: dict[str, float]) -> Any:
    from benchsuite.workload.readers import spread

    try:
        return spread({"kind": kind, **values})
    except ValueError as error:
        raise click.BadParameter(f"a length {error}") from None
