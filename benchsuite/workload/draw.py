"""What decides the requests of a trial, and the numbers that are drawn from it by name."""

import hashlib
import random
from collections.abc import Sequence

import msgspec

from benchsuite.types import Lengths, Message, Noun, Phase, Point, Workload


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a workload's files: bodies word for word, items of a dataset, rows of a trace.

    It is held in memory while a run lasts and never stored.
    """

    bodies: Sequence[bytes] = ()
    items: Sequence["Item"] = ()
    rows: Sequence["Row"] = ()

    @property
    def has_images(self) -> bool:
        """Does any of the dataset's messages hold an image?"""
        return any('"image_url"' in message.parts for item in self.items for message in item.messages)

    @property
    def has_tools(self) -> bool:
        """Are there tools, or calls of them, in any of the dataset's items?"""
        return any(
            item.tools or any(message.tool_calls or message.role == "tool" for message in item.messages)
            for item in self.items
        )


class Item(Noun, frozen=True, kw_only=True):
    """One prompt of a dataset: its messages, the tools that go with it (JSON in the OpenAI form), its answer.

    `expected`: the right answer, for the workload's check; empty: none. `output_tokens` and `prompt_tokens`:
    0 where the file doesn't say.
    """

    messages: tuple[Message, ...]
    expected: str = ""
    tools: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0


class Row(Noun, frozen=True, kw_only=True):
    """One request of a trace: when it came, in ns from the trace's start, and its lengths in tokens.

    `blocks`: names of the prompt's blocks of `block_tokens` tokens each, equal where prompts begin alike.
    """

    at_ns: int
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()
    block_tokens: int = 0


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a trial's requests follow from: the same draw gives the same requests, to the byte.

    `seed` decides words, lengths and arrivals; `nonce` only what makes prompts new for a cache. `trial` 0 is
    warm-up. `lengths` None: bodies are sent as they are. `again`: the trial, or a part of it, may have been
    sent so often before.
    """

    workload: Workload
    point: Point
    phase: Phase
    trial: int
    seed: int
    nonce: str
    lengths: Lengths | None
    material: Material = Material()
    again: int = 0

    @property
    def own_nonce(self) -> str:
        """What makes a prompt's own words new for a cache, even where its trial was sent before."""
        return f"{self.nonce} again {self.again}" if self.again else self.nonce

    @property
    def place(self) -> str:
        """Names this trial among those of its run."""
        return f"{self.point.index} {self.phase} {self.trial}"

    def random(self, what: str) -> random.Random:
        """Numbers that the seed and this trial decide, another sequence for each `what`."""
        return random.Random(f"{what} {self.seed} {self.place}")


def number(name: str) -> int:
    """A whole number below 2**256 that only `name` decides."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest())
