"""Prompt tokens and the prefix cache."""

from collections import OrderedDict
from collections.abc import Sequence


class PrefixCache:
    """Blocks of the prompts seen last; a block counts only together with all that stands before it."""

    def __init__(self, block_tokens: int, prompts: int) -> None:
        self._block_tokens = block_tokens
        self._capacity = prompts
        self._prompts: OrderedDict[int, list[int]] = OrderedDict()
        self._holders: dict[int, int] = {}

    def clear(self) -> None:
        """Forget every prompt."""
        self._prompts.clear()
        self._holders.clear()

    def use(self, tokens: Sequence[str | int]) -> int:
        """How many leading tokens are cached, then remember this prompt.

        A whole number of blocks, and never the whole prompt: its last token is always computed.
        """
        return self.take(tokens)[0]

    def take(self, tokens: Sequence[str | int], salt: str = "", up_to: int = -1) -> tuple[int, int]:
        """As `use`, with the number of tokens that are newly remembered.

        Another `salt` shares nothing; tokens from number `up_to` on, if it isn't negative, don't count.
        """
        some = tokens if up_to < 0 else tokens[:up_to]
        chain = self._chain(some, hash(salt) if salt else 0)
        held = 0
        for block in chain:
            if block not in self._holders:
                break
            held += 1
        if chain:
            self._remember(chain)
        size = self._block_tokens
        cached = min(held, (len(tokens) - 1) // size) * size if held else 0
        return cached, (len(chain) - held) * size

    def _chain(self, tokens: Sequence[str | int], key: int) -> list[int]:
        """One key for each full block, made of the block and the key before it."""
        size, chain = self._block_tokens, []
        for end in range(size, len(tokens) + 1, size):
            key = hash((key, *tokens[end - size : end]))
            chain.append(key)
        return chain

    def _remember(self, chain: list[int]) -> None:
        last = chain[-1]
        if last in self._prompts:
            self._prompts.move_to_end(last)
            return
        self._prompts[last] = chain
        for block in chain:
            self._holders[block] = self._holders.get(block, 0) + 1
        if len(self._prompts) > self._capacity:
            for block in self._prompts.popitem(last=False)[1]:
                self._holders[block] -= 1
                if not self._holders[block]:
                    del self._holders[block]
