"""Train the byte-level BPE of the models made on the spot and write its merges as package data.

Run once by a developer, never by benchsuite: `uv run --with tokenizers scripts/make_tokenizer.py`.
What it writes depends on the Python whose standard library it reads, which is why the result is
shipped instead of made where it is needed.
"""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parent.parent / "benchsuite"
ENTRIES = 4096
SPECIAL_ENTRIES = 4
WORD_REPEATS = 5000


def training_text() -> Iterator[str]:
    """The standard library's sources, and every word of the list often enough to become one token."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("**/*.py")):
        if "site-packages" not in path.parts and "test" not in path.parts:
            yield path.read_text(encoding="utf-8", errors="ignore")
    words = (ROOT / "data" / "words.txt").read_text(encoding="utf-8").split()
    both = [form for word in words for form in (f"{word}\n", f" {word}\n")]
    for _ in range(WORD_REPEATS):
        yield from both


def main() -> None:
    """Write `servers/data/merges.txt`, one merge a line in rank order."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=ENTRIES - SPECIAL_ENTRIES,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_text(), trainer)
    folder = ROOT / "servers" / "data"
    tokenizer.model.save(str(folder))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    merges = [line for line in lines if not line.startswith("#version")]
    (folder / "merges.txt").write_text("\n".join(merges) + "\n", encoding="utf-8")
    (folder / "vocab.json").unlink()
    singles = ROOT / "data" / "words.txt"
    for word in singles.read_text(encoding="utf-8").split():
        for form in (word, f" {word}"):
            if len(tokenizer.encode(form).tokens) != 1:
                raise SystemExit(f"{form!r} isn't one token: raise WORD_REPEATS")
    print(f"{len(merges)} merges, {tokenizer.get_vocab_size()} entries")


if __name__ == "__main__":
    main()
