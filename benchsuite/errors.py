"""What can go wrong, as one tree; the command line turns each branch into its exit code.

BenchsuiteError                 something to tell the user in a line or two
├── UsageError          exit 2  the request makes no sense: unknown name, bad value, bad file
│   └── ChoiceNeeded    exit 2  something has to be chosen, and from what
├── TargetError         exit 2  the server can't be reached, started, or is something else
├── StoreError          exit 2  a stored run is missing, ambiguous, damaged or too new
├── InvalidMeasurement  exit 3  the numbers can't be trusted, and why
├── NotComparable       exit 4  there is nothing that the run can be compared with, and why
└── StillRunning        exit 130  a batch goes on without us, and how to come back to it

A failed *request* is never an exception: it is a `Record` with an outcome.
Every message says what to do next and holds no key, prompt or answer.
"""


class BenchsuiteError(Exception):
    """Base of all errors that are told to the user instead of traced."""

    exit_code = 2


class UsageError(BenchsuiteError):
    """What was asked makes no sense; the message names the nearest thing that does."""


class ChoiceNeeded(UsageError):
    """One of `choices` has to be named with `option`; a terminal can ask, anything else is told.

    `notes` say what tells the choices apart, one each, or there are none.
    """

    SHOWN = 8

    def __init__(
        self, question: str, option: str, choices: tuple[str, ...], notes: tuple[str, ...] = ()
    ) -> None:
        more = f" and {len(choices) - self.SHOWN} more" if len(choices) > self.SHOWN else ""
        super().__init__(f"{question}; choose with {option}: {', '.join(choices[: self.SHOWN])}{more}")
        self.question, self.option, self.choices, self.notes = question, option, choices, notes


class TargetError(BenchsuiteError):
    """The server under test can't be reached, started or identified."""


class StoreError(BenchsuiteError):
    """A stored run is missing, ambiguous, damaged, or written by a newer version."""


class InvalidMeasurement(BenchsuiteError):
    """The measurement took place but its numbers can't be trusted."""

    exit_code = 3


class NotComparable(BenchsuiteError):
    """Runs that can't be compared with each other, or a run without a baseline."""

    exit_code = 4


class StillRunning(BenchsuiteError):
    """We were interrupted while a batch went on at its server; the message says how to come back to it."""

    exit_code = 130
