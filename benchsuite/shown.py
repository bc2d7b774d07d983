"""What may be shown and stored of paths, URLs and commands: no keys, no homes, no names of private hosts."""

import ipaddress
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from benchsuite.types import Connection, Identity, Timeouts

HIDDEN = "***"
_SECRET_OPTION = re.compile(r"(api[-_]?key|[-_]token|secret|password|authorization)$|^-hft$", re.IGNORECASE)
_SECRET_MEMBER = re.compile(
    r'("[^"]*(?:key|token|secret|password|authorization)"\s*:\s*)"[^"]*"', re.IGNORECASE
)
_URL = re.compile(r"\w[\w+.-]*://(?:[^/\s\"']*@)?[^\s\"',}\]]+")
_USER = re.compile(r"://([^/\s\"']+)@")
_LEAST_SECRET = 4
"""Shorter passwords aren't looked for alone: they'd be found in words that have nothing to do with them."""
_INNER_PATH = re.compile(r"(?<=[=:,;@|\[({\s\"'])(?:/(?![/\s])|[A-Za-z]:\\)(?:[^\"',:=}\]]|[:=](?!/))+")
"""A path within a word, up to where the next value begins; it may have spaces."""
_ADDRESS = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
_LONG_TEXT = 48
_PLAIN = re.compile(r"[\w@%+=:,./~*-]+")


def shown_path(text: str) -> str:
    """A path as it may be shown: from `~` on within home, else its name alone; other text as it is."""
    windows = PureWindowsPath(text)
    if windows.drive and windows.root:
        return windows.name
    if not os.path.isabs(text):
        return text
    path = Path(text)
    for home in (Path.home(), Path.home().resolve()):
        if home != Path(home.anchor) and path.is_relative_to(home):
            return str("~" / path.relative_to(home))
    return path.name


def shown_word(word: str) -> str:
    """A word of a command as it may be shown: paths shortened, URLs and JSON in it without their secrets."""
    name = os.path.basename(word)
    is_python = os.path.isabs(word) and name.startswith("python") and "." not in name.removeprefix("python3.")
    if word == sys.executable or is_python:
        return "python"
    word = _URL.sub(lambda url: masked_url(url[0]), shown_path(word))
    word = _INNER_PATH.sub(lambda path: shown_path(path[0]), word)
    word = _ADDRESS.sub(lambda host: "private-host" if _is_private(host[0]) else host[0], word)
    return _SECRET_MEMBER.sub(rf'\1"{HIDDEN}"', word)


def masked_url(url: str) -> str:
    """The URL without user, password and query; a private host's name isn't stored either."""
    try:
        parts = urlsplit(url)
        asked_port = parts.port
    except ValueError:
        return HIDDEN
    host = parts.hostname or ""
    if parts.scheme == "file":
        return f"file://{shown_path(parts.path)}"
    if _is_private(host):
        host = "private-host"
    if ":" in host:
        host = f"[{host}]"
    port = f":{asked_port}" if asked_port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _is_private(host: str) -> bool:
    """A name or address inside somebody's network (this machine itself excepted)."""
    if host == "localhost":
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan", ".corp", ".home.arpa"))
    return address.is_private and not (address.is_loopback or address.is_unspecified)


def public_host(url: str) -> str:
    """The host of a URL if it is neither this machine nor in a private network, else empty."""
    host = urlsplit(masked_url(url)).hostname or ""
    if host in {"", "localhost", "private-host"}:
        return ""
    try:
        return "" if ipaddress.ip_address(host).is_loopback else host
    except ValueError:
        return host


def where_it_is(url: str, attached: bool) -> str:
    """Of the server that was measured: where it is, and that it wasn't started for this."""
    if not attached:
        return "started here"
    return f"at {url}" if public_host(url) else f"at {url} (already running)"


def shown_image(name: str) -> str:
    """A Docker image's name as it may be stored: a private registry isn't named."""
    registry, slash, rest = name.partition("/")
    host, colon, _ = registry.partition(":")
    named = bool(slash) and ("." in registry or bool(colon))
    return f"private-host/{rest}" if named and _is_private(host) else name


def mask_command(argv: Sequence[str]) -> str:
    """A command as it may be stored: no values of key options, `~` for home, file names only elsewhere."""
    shown = [start + (HIDDEN if secret else shown_word(value)) for start, value, secret in _words(argv)]
    return " ".join(part if _PLAIN.fullmatch(part) else shlex.quote(part) for part in shown)


def without_secrets(text: str, argv: Sequence[str]) -> str:
    """What a command said, without its keys and its URLs' passwords: engines print their arguments."""
    found = {part for _, value, secret in _words(argv) if secret for part in (value, *value.split(","))}
    for user in (user for word in argv for user in _USER.findall(word)):
        found.add(f"{user}@")
        parts = (user, user.partition(":")[2])
        found |= {form for part in parts for form in (part, unquote(part)) if len(form) >= _LEAST_SECRET}
    for value in sorted(filter(None, found), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text


def _words(argv: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """Each word as what stays (`--option=`), the rest, and whether that is a secret."""
    # A key option may take several values: secret are the word after it and what follows up to an option.
    option, values = "", 0
    for word in argv:
        if word.startswith("-") and not (option and not values):
            name, equals, value = word.partition("=")
            secret = bool(_SECRET_OPTION.search(name))
            option, values = (name, 0) if secret and not equals else ("", 0)
            yield (f"{name}=", value, secret) if equals else ("", word, False)
        else:
            values += 1
            yield "", word, bool(option)


# ---------------------------------------------------------------- what a manifest holds


def shown_model(name: str) -> str:
    """A model's name as it may be stored and shown: some servers call a model by its path."""
    return shown_path(name)


def shown_identity(identity: Identity) -> Identity:
    """What a server says of itself as it may be stored, without folders of anyone's machine."""
    return msgspec.structs.replace(
        identity,
        models=tuple(map(shown_model, identity.models)),
        details={name: shown_path(value) for name, value in identity.details.items()},
    )


def shown_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings of an engine as they may be stored, without folders of this machine."""
    return {name: shown_word(value) for name, value in settings.items()}


def shown_body(body: Mapping[str, Any]) -> str:
    """JSON that is merged into bodies, as it may be stored: long texts, which may be prompts, are hidden."""

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shown(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [shown(inner) for inner in value]
        return HIDDEN if isinstance(value, str) and len(value) > _LONG_TEXT else value

    return _SECRET_MEMBER.sub(rf'\1"{HIDDEN}"', msgspec.json.encode(shown(body)).decode())


def connection_facts(connection: Connection) -> dict[str, str]:
    """Connection settings that a reader of the numbers has to know, without paths or secrets."""
    facts = {
        "insecure": "certificates not checked" if connection.insecure else "",
        "ca_cert": "own CA" if connection.ca_cert else "",
        "client_cert": "client certificate" if connection.client_cert else "",
        "proxy": "through a proxy" if connection.proxy else "",
    }
    limits = msgspec.to_builtins(connection.timeouts)
    facts |= {name: f"{value:g}" for name, value in limits.items() if value != getattr(Timeouts(), name)}
    return {name: fact for name, fact in facts.items() if fact}
