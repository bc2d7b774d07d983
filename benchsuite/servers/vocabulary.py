"""The byte-level BPE vocabulary of models made on the spot: 4,096 entries, GPT-2's way of splitting.

Only the merges are shipped (`data/merges.txt`, written by `scripts/make_tokenizer.py`); the entries
follow from them: 256 bytes, the result of each merge, and four special entries at the end. Every
word of `benchsuite/data/words.txt` is one entry with a leading space and one without.
"""

from importlib.resources import files

from benchsuite.types import Noun

BEGIN, END, TURN_START, TURN_END = "<|begin|>", "<|end|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (BEGIN, END, TURN_START, TURN_END)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Vocabulary(Noun, frozen=True, kw_only=True):
    """Entries by token id, in the spelling of GPT-2's files, and merges in rank order.

    `silent`: ids that a model must never say, because they would end the answer, show nothing, or
    show something only together with the next token.
    """

    entries: tuple[str, ...]
    merges: tuple[str, ...]
    silent: tuple[int, ...]


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


def _is_visible(entry: str, letters: dict[str, int]) -> bool:
    if entry in SPECIAL:
        return False
    try:
        text = bytes(letters[letter] for letter in entry).decode()
    except UnicodeDecodeError:
        return False
    return text.replace("\n", " ").replace("\t", " ").isprintable()
