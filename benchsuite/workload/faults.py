"""What an error says of where a fault stands: the key in a file, and the part of its value."""


class Fault(ValueError):
    """A fault of a part of what was written: `value` is that part."""

    def __init__(self, text: str, value: object) -> None:
        super().__init__(text)
        self.value = value


def within(text: str, part: object, error: ValueError) -> Fault:
    """`error` of a part, with `text` in front that says of which."""
    return Fault(f"{text} {error}", error.value if isinstance(error, Fault) else part)


def at(where: str, place: str) -> str:
    """How an error begins: of a file's workload, which `where` names, with the place in it."""
    return f"{where}{place} " if where else ""
