"""Token events as a decoder finds them, one column each."""

from typing import Any

from benchsuite.types import Reply

CONTENT, REASONING, TOOL = b"crt"


class Events:
    """Collects token events; what has no text is none. `reply` makes the columns a Reply."""

    __slots__ = ("arrival_ns", "kinds", "texts")

    def __init__(self) -> None:
        self.arrival_ns: list[int] = []
        self.kinds = bytearray()
        self.texts: list[str] = []

    def add(self, kind: int, text: str | None, arrived_ns: int) -> None:
        """One event, `CONTENT`, `REASONING` or `TOOL`."""
        if text:
            self.arrival_ns.append(arrived_ns)
            self.kinds.append(kind)
            self.texts.append(text)

    def reply(self, **facts: Any) -> Reply:
        """The events with everything else that is known of the answer."""
        return Reply(arrival_ns=self.arrival_ns, kind=bytes(self.kinds), texts=self.texts, **facts)
