"""Is an answer right? Checks as a workload names them, pure: a text in, yes or no out.

Texts are compared in Unicode's composed form (NFC) and without the blanks around them. JSON is taken from an
answer that is nothing else, or from its one fenced block.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from benchsuite.errors import UsageError
from benchsuite.types import Check, Workload
from benchsuite.workload.draw import Item
from benchsuite.workload.faults import at

Judge = Callable[[str, str], bool]
"""An answer and what is expected of it (empty: what the check itself says) → did it pass?"""

_FENCED: Final = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)
_NOTHING: Final = object()

_UNSPACED: Final = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc"
    r"\U00020000-\U0003ffff"
)
"""Scripts whose words aren't set apart: Thai, Lao, Burmese, Khmer, Han, kana, Hangul (endings are joined)."""
_LETTER: Final = rf"[^\W_{_UNSPACED}]"
_JOINT: Final = r"[-_\u2010\u2011]"
_SIGN: Final = r"[-+\u00b1\u2010\u2011\u2013\u2212]"
_SEPARATOR: Final = r"[.,'\u2019\u00a0\u2009\u202f]"
_BEFORE: Final = rf"(?<!{_LETTER})(?<!{_LETTER}{_JOINT})"
_AFTER: Final = rf"(?!{_JOINT}?{_LETTER})"
_BEFORE_NUMBER: Final = rf"(?<!{_SIGN})(?<!\d{_SEPARATOR})(?<!(?<!\S)\.)"
_AFTER_NUMBER: Final = rf"(?!{_SEPARATOR}\d)(?![+\u00b1]|{_SIGN}\d)"


# ---------------------------------------------------------------- what may be asked


def refuse(workload: Workload, where: str) -> None:
    """A check that could never tell right from wrong is a UsageError; `where` begins it."""
    check = workload.check
    if check is None:
        return
    where = at(where, "[check]:")
    kind, own = check.kind, workload.dataset is None
    if kind == "choice" and len(check.choices) < 2:
        raise UsageError(f'{where}a check "choice" takes the choices, two or more: --check "choice:yes|no"')
    if check.choices and kind != "choice":
        raise UsageError(f'{where}choices go with a check "choice", not with "{kind}"')
    if check.json_schema and kind != "json-schema":
        raise UsageError(f'{where}a schema goes with a check "json-schema", not with "{kind}"')
    if kind == "regex" and not check.expected:
        raise UsageError(f'{where}a check "regex" takes the pattern to be found: --check "regex:[0-9]+"')
    if kind == "json-schema":
        _schema(check, where, needed=own)
    elif own and not check.expected:
        what = "the choice that is right: expected = …" if kind == "choice" else f'it: --check "{kind}:TEXT"'
        raise UsageError(f"{where}nothing says what answer is right: a dataset does, or {what}")
    if kind == "choice" and check.expected and _named(check.expected, check.choices) is None:
        raise UsageError(f"{where}the expected choice must be one of the choices")


def _schema(check: Check, where: str, *, needed: bool) -> None:
    if not check.json_schema:
        if needed:
            raise UsageError(f'{where}a check "json-schema" takes a schema, or a dataset with expected JSON')
        return
    from jsonschema.exceptions import SchemaError

    schema = json.loads(check.json_schema)
    try:
        _validator_class(schema).check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "its top"
        raise UsageError(f"{where}the check's JSON schema isn't one: see {place}") from None
    except RecursionError:
        raise UsageError(f"{where}the check's JSON schema is too deep") from None
    for reference in _references(schema):
        if not _leads_somewhere(schema, reference):
            raise UsageError(
                f"{where}the check's JSON schema refers to {reference!r}, which isn't in it; "
                "write it out: nothing is fetched"
            )


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, inner in schema.items():
            if key in {"$ref", "$dynamicRef"} and isinstance(inner, str):
                yield inner
            yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)


def _leads_somewhere(schema: Any, reference: str) -> bool:
    """Does a reference find its place within the schema itself?"""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = DRAFT202012.create_resource(schema)
    resolver = Registry().with_resource("", resource).resolver()
    try:
        resolver.lookup(reference)
    except (Unresolvable, ValueError):
        return False
    return True


def _validator_class(schema: Any) -> Any:
    from jsonschema.validators import Draft202012Validator, validator_for

    return validator_for(schema, default=Draft202012Validator)


def ready(check: Check | None, items: Sequence[Item], name: str) -> None:
    """A dataset without right answers, where the check rests on them, is a UsageError that names the row."""
    if check is None or check.kind == "regex" or check.expected:
        return
    for number, item in enumerate(items, 1):
        where = f"{name}, row {number}"
        if not item.expected:
            if check.kind == "json-schema" and check.json_schema:
                continue
            raise UsageError(f"{where} has no expected answer for the check; a column expected holds it")
        if check.kind == "choice" and _named(item.expected, check.choices) is None:
            raise UsageError(f"{where} expects an answer that isn't one of the check's choices")
        if check.kind == "json-schema" and _strict(item.expected) is _NOTHING:
            raise UsageError(f"{where} expects an answer that isn't JSON")


# ---------------------------------------------------------------- judging


def judging(
    workload: Workload, items: Sequence[Item], item_of: Callable[[int], int | None]
) -> Callable[[int, str], bool | None] | None:
    """A function from a request's index and its answer to whether it passed; None: there is no check.

    `item_of`: which item a request asked. Where the right answer isn't at hand (a run that is recovered
    has no dataset), the function says None.
    """
    check = workload.check
    if check is None:
        return None
    judge, by_item = judge_of(check), rests_on_items(workload)

    def passed(index: int, answer: str) -> bool | None:
        if not by_item:
            return judge(answer, "")
        which = item_of(index)
        return None if which is None or which >= len(items) else judge(answer, items[which].expected)

    return passed


def rests_on_items(workload: Workload) -> bool:
    """Does it take the dataset to judge an answer?"""
    check = workload.check
    return check is not None and workload.dataset is not None and not check.expected and check.kind != "regex"


def judge_of(check: Check) -> Judge:
    """The check as a function; what is costly to prepare is prepared once.

    No answer ends a run: one that can't be judged, such as a number too large or JSON too deep, didn't pass.
    """
    judge = _JUDGES[check.kind](check)

    def passes(answer: str, expected: str) -> bool:
        try:
            return judge(answer, expected)
        except Exception:
            return False

    return passes


def _exact(check: Check) -> Judge:
    return lambda answer, expected: _plain(answer) == _plain(check.expected or expected)


def _contains(check: Check) -> Judge:
    return lambda answer, expected: _plain(check.expected or expected) in _plain(answer)


def _regex(check: Check) -> Judge:
    pattern = re.compile(_composed(check.expected))
    return lambda answer, expected: pattern.search(_composed(answer)) is not None


def _choice(check: Check) -> Judge:
    """The answer names one of the choices and no other, as often as it likes."""

    def judge(answer: str, expected: str) -> bool:
        right = _named(check.expected or expected, check.choices)
        return right is not None and _named(answer, check.choices) == right

    return judge


def _named(answer: str, choices: Sequence[str]) -> str | None:
    """The one choice that a text names as words of its own; None: none, or several.

    Case doesn't matter, except for choices of one letter: "a" is a word. Of "not spam" and "spam" the longer
    is named where both could be.
    """
    found = set()
    by_length = sorted(map(_plain, choices), key=len, reverse=True)
    for match in re.finditer("|".join(map(_word, by_length)), _plain(answer)):
        text = match[0]
        found.add(text if text in by_length else text.casefold())
    known = {one if len(one) == 1 else one.casefold() for one in by_length}
    named = {one if len(one) == 1 else one.casefold() for one in found} & known
    return named.pop() if len(named) == 1 else None


def _word(choice: str) -> str:
    """A pattern that finds a choice where it is no part of a longer word or number.

    A hyphen or an underscore between letters joins them; a sign or a separator of digits belongs to a number.
    Where a choice begins or ends in a script without blanks between its words, anything may stand beside it.
    """
    before = after = ""
    if not re.match(f"[{_UNSPACED}]", choice):
        before = _BEFORE + (_BEFORE_NUMBER if re.match(r"\d", choice) else "")
    if not re.search(rf"[{_UNSPACED}]\Z", choice):
        after = _AFTER + (_AFTER_NUMBER if re.search(r"\d\Z", choice) else "")
    word = re.escape(choice) if len(choice) == 1 else f"(?i:{re.escape(choice)})"
    return before + word + after


def _json_schema(check: Check) -> Judge:
    valid: Callable[[Any], bool] = lambda value: True  # noqa: E731
    if check.json_schema:
        from referencing import Registry

        schema = json.loads(check.json_schema)
        # An empty registry: nothing is ever fetched.
        valid = _validator_class(schema)(schema, registry=Registry()).is_valid

    def judge(answer: str, expected: str) -> bool:
        value = json_of(answer)
        if value is _NOTHING or not valid(value):
            return False
        right = check.expected or expected
        return not right or same_json(value, _strict(right))

    return judge


_JUDGES: Final[Mapping[str, Callable[[Check], Judge]]] = MappingProxyType(
    {
        "exact": _exact,
        "contains": _contains,
        "regex": _regex,
        "choice": _choice,
        "json-schema": _json_schema,
    }
)


# ---------------------------------------------------------------- texts and JSON


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _plain(text: str) -> str:
    return _composed(text).strip()


def json_of(answer: str) -> Any:
    """The JSON value of an answer: all of it, or its only fenced block (```json); else no JSON value."""
    value = _strict(answer)
    if value is not _NOTHING:
        return value
    blocks = _FENCED.findall(answer)
    return _strict(blocks[0][1]) if len(blocks) == 1 else _NOTHING


def is_json(answer: str) -> bool:
    """Does an answer hold JSON, as `json_of` finds it?"""
    return json_of(answer) is not _NOTHING


def _strict(text: str) -> Any:
    def constant(name: str) -> float:
        raise ValueError(name)

    try:
        return json.loads(text.strip().removeprefix("\ufeff"), parse_constant=constant)
    except (ValueError, RecursionError):
        return _NOTHING


def same_json(one: Any, other: Any) -> bool:
    """Are two JSON values the same, whatever the order of their keys and however numbers are written?"""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    if isinstance(one, str) and isinstance(other, str):
        return _composed(one) == _composed(other)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return _same_number(one, other)
    return one is None and other is None


def _same_number(one: float, other: float) -> bool:
    """Whole numbers are the same exactly, others but for the last digits that a float may lose."""
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    try:
        one, other = float(one), float(other)
    except OverflowError:
        return False
    if one.is_integer() and other.is_integer():
        return one == other
    return math.isclose(one, other, rel_tol=1e-12, abs_tol=0.0)
