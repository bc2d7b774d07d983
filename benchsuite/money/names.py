"""GPU names as people, clouds and NVML write them: which ones can mean the same card."""

import re
from typing import Final

_BRANDS: Final = frozenset(
    {"nvidia", "geforce", "tesla", "quadro", "rtx", "gtx", "amd", "radeon", "instinct", "apple"}
    | {"hgx", "dgx", "gpu", "oam", "tensor", "core"}
)
"""Words that tell no card from another."""

_FORMS: Final = frozenset({"sxm", "pcie", "nvl"})
_MEMORY: Final = re.compile(r"\d+gb")
_SPACED_GB: Final = re.compile(r"(?<=\d)\s+(?=gi?b\b)", re.IGNORECASE)
_NOT_A_COUNT: Final = re.compile(r"\b(?:rt|gt|g|dg|hg)$", re.IGNORECASE)
"""What stands before the X in RTX 4090: no GPU's name, so that 4090 isn't how many there are."""


def words(name: str) -> frozenset[str]:
    """What tells a card from others: `NVIDIA H100 80GB HBM3` → h100, 80gb, sxm."""
    return frozenset(map(_word, re.findall(r"[a-z0-9]+", _SPACED_GB.sub("", name).lower()))) - _BRANDS


def model_words(name: str) -> frozenset[str]:
    """The words but for form and memory: `NVIDIA H100 80GB HBM3` → h100."""
    return frozenset(word for word in words(name) - _FORMS if not _MEMORY.fullmatch(word))


def _word(part: str) -> str:
    part = re.sub(r"^(?:rtx|gtx)(?=\d)", "", part)
    if re.fullmatch(r"sxm\d?", part) or part == "hbm3":
        return "sxm"  # NVML says SXM of an H100 only by its memory's kind.
    return re.sub(r"^(\d+)gi?b?$", r"\1gb", part)


def squeezed(name: str) -> str:
    """The name without spaces, marks and case: `H100-NVL` → `h100nvl`."""
    return "".join(re.findall(r"[a-z0-9]+", name.lower()))


def contradict(stated: str, heard: str) -> bool:
    """Can't both names mean one card? What only one of them tells (form, memory) contradicts nothing.

    `H100` agrees with every H100, `H100 SXM` only with one that may be an SXM; `L4` isn't an L40S.
    """
    mine, theirs = words(stated), words(heard)
    for kind in (_FORMS, {word for word in mine | theirs if _MEMORY.fullmatch(word)}):
        if mine & kind and theirs & kind and not mine & theirs & kind:
            return True
    return not model_words(stated) <= theirs


def splits(text: str) -> list[tuple[str, int]]:
    """Every way to read `H100x8`, `8 x H100` or `H100:8` as a name and a count, the whole text first."""
    text = text.strip()
    found = [(text, 1)]
    if (match := re.fullmatch(r"(.+?)\s*[x×*:]\s*(\d{1,4})", text, re.IGNORECASE)) and not (
        _NOT_A_COUNT.search(match[1])
    ):
        found.append((match[1], int(match[2])))
    if match := re.fullmatch(r"(\d{1,4})\s*[x×*]\s*(.+)", text, re.IGNORECASE):
        found.append((match[2], int(match[1])))
    return found
