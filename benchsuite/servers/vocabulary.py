"""The byte-level BPE vocabulary of models made on the spot: 4,096 entries, GPT-2's way of splitting.

Only the merges are shipped (`data/merges.txt`, written by `scripts/make_tokenizer.py`); the entries
follow from them: 256 bytes, the result of each merge, and four special entries at the end. Every
word of `benchsuite/data/words.txt` is one entry with a leading space and one without.

A published shape's vocabulary is larger (`filled`): the same visible entries and merges, then words
that nobody writes, so that dummy weights, which may choose any token, always say something.
"""

from collections.abc import Iterator
from importlib.resources import files
from itertools import islice, product

from benchsuite.types import Noun

BEGIN, END, TURN_START, TURN_END = "<|begin|>", "<|end|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (BEGIN, END, TURN_START, TURN_END)
UNKNOWN = "?"

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Vocabulary(Noun, frozen=True, kw_only=True):
    """Entries by token id, in the spelling of GPT-2's files, and merges in rank order.

    `silent`: ids that a model must never say, because they would end the answer, show nothing, or
    show something only together with the next token. `unknown`: what stands for a byte without an
    entry; empty: every byte has one.
    """

    entries: tuple[str, ...]
    merges: tuple[str, ...]
    silent: tuple[int, ...]
    unknown: str = ""


def byte_letters() -> dict[str, int]:
    """GPT-2's spelling of bytes: letter → byte; bytes that don't print get letters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(0x100) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + index): byte for index, byte in enumerate(rest)}


def load() -> Vocabulary:
    """Read the shipped merges."""
    text = files("benchsuite.servers").joinpath("data/merges.txt").read_text(encoding="utf-8")
    merges = tuple(text.splitlines())
    letters = byte_letters()
    by_byte = sorted(letters, key=letters.__getitem__)
    entries = (*dict.fromkeys((*by_byte, *(merge.replace(" ", "") for merge in merges))), *SPECIAL)
    silent = tuple(index for index, entry in enumerate(entries) if not _is_visible(entry, letters))
    return Vocabulary(entries=entries, merges=merges, silent=silent)


def filled(size: int) -> Vocabulary:
    """A vocabulary of `size` entries each of which shows something, but for END, which is silent.

    Bytes that show nothing alone (control characters, and all beyond ASCII) are `unknown`: text
    goes in and comes out whole only in printable ASCII. Texts of that kind cost the same tokens as
    in the small vocabulary.
    """
    words = load()
    silent = {words.entries[index] for index in words.silent}
    shown = [entry for entry in words.entries if entry not in silent]
    merges = tuple(merge for merge in words.merges if not silent.intersection(_parts(merge)))
    invented = (word for word in _invented_words() if word not in shown)
    entries = (*shown, *islice(invented, size - len(shown) - len(SPECIAL)), *SPECIAL)
    return Vocabulary(entries=entries, merges=merges, silent=(entries.index(END),), unknown=UNKNOWN)


def _parts(merge: str) -> tuple[str, str, str]:
    first, second = merge.split(" ")
    return first, second, first + second


def _invented_words() -> Iterator[str]:
    syllables = ["".join(pair) for pair in product("bdfghjklmnprstvz", "aeiou")]
    return ("Ġ" + "".join(three) for three in product(syllables, repeat=3))


def _is_visible(entry: str, letters: dict[str, int]) -> bool:
    if entry in SPECIAL:
        return False
    try:
        text = bytes(letters[letter] for letter in entry).decode()
    except UnicodeDecodeError:
        return False
    return text.replace("\n", " ").replace("\t", " ").isprintable()
