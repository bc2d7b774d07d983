"""Which targets a command names: `--backend a,b`, `--model x,y`, or words like `vllm:model@http://…`."""

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from benchsuite.cli.settings import names_of

if TYPE_CHECKING:
    from benchsuite.discovery import Found
    from benchsuite.errors import ChoiceNeeded

Named = tuple[str, str, str]
"""Backend, URL and model; empty where the backend or the server decides."""


def named_targets(given: dict[str, Any]) -> list[Named]:
    """Every target that `run` was asked to measure, in that order; backends first, then models."""
    from benchsuite.errors import UsageError

    backends, models = _listed(given["backend"]), _listed(given["model"]) or [""]
    url = given["url"] or ""
    if given["target"]:
        if backends or url:
            raise UsageError("name targets either as words or with --backend and --url, not both")
        names = names_of(given)
        parsed = [parse_target(word, names) for word in given["target"]]
        return [(name, at, own or model) for name, at, own in parsed for model in ([""] if own else models)]
    if url and len(backends) > 1:
        raise UsageError("--url is one server's; name several as BACKEND@URL BACKEND@URL")
    default = "http" if given.get("spec") else "openai" if url else "local"
    return [(name, url, model) for name in backends or [default] for model in models]


def parse_target(word: str, names: Mapping[str, str] = MappingProxyType({})) -> Named:
    """`backend[:model][@url]` in its parts; `names` stand for such words. A UsageError for anything else."""
    from benchsuite.cli.kinds import server_url
    from benchsuite.driver import backends
    from benchsuite.errors import UsageError

    if word in names:
        return parse_target(names[word])
    rest, at, url = word.partition("@http")
    backend, _, model = rest.partition(":")
    known = [*names, *backends()]
    if backend in backends() and not model.startswith("//"):
        return backend, server_url(f"http{url}") if at else "", model
    # A URL may hold a password, so no message repeats it.
    if backend in {"http", "https"}:
        raise UsageError("a URL alone is no target: name what answers there, such as openai@URL")
    near = get_close_matches(backend, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    raise UsageError(f"no backend called {backend!r} (a target is BACKEND:MODEL@URL); {hint}")


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def shown_target(named: Named) -> str:
    """A target as its word, with nothing in it that a log may not have."""
    from benchsuite.shown import masked_url, shown_model

    backend, url, model = named
    return backend + (f":{shown_model(model)}" if model else "") + (f"@{masked_url(url)}" if url else "")


# ---------------------------------------------------------------- asking


def may_ask() -> bool:
    """Is there a person at a terminal to answer?"""
    return sys.stdin.isatty() and sys.stderr.isatty()


def offered(found: "tuple[Found, ...]") -> "Found | None":
    """Offer what answers on this machine, one after another; None: nothing, or nothing wanted."""
    for one in found:
        if click.confirm(f"{described(one)}. Measure it?", default=True, err=True):
            return one
    return None


def described(found: "Found") -> str:
    """`vLLM 0.33.0 answers at http://localhost:8000 with qwen3-8b loaded`."""
    from benchsuite.shown import shown_model

    identity = found.identity
    title = f"{found.title} {identity.version}".strip()
    models = [shown_model(name) for name in identity.models]
    more = (
        f" with {models[0]} loaded" if len(models) == 1 else f" with {len(models)} models" if models else ""
    )
    return f"{title} answers at {found.url}{more}"


def chosen(needed: "ChoiceNeeded") -> str:
    """Ask for one of the choices by its number."""
    colon = "" if needed.question.endswith("?") else ":"
    click.echo(f"{needed.question[0].upper()}{needed.question[1:]}{colon}", err=True)
    notes = needed.notes or ("",) * len(needed.choices)
    for number, (choice, note) in enumerate(zip(needed.choices, notes, strict=True), 1):
        click.echo(f"  {number}  {choice}" + (f"  ({note})" if note else ""), err=True)
    number = click.prompt("Number", type=click.IntRange(1, len(needed.choices)), default=1, err=True)
    return needed.choices[number - 1]
