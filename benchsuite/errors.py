"""What can go wrong, as one tree; the command line turns each branch into its exit code.

BenchsuiteError                 something to tell the user in a line or two
├── UsageError          exit 2  the request makes no sense: unknown name, bad value, bad file
├── TargetError         exit 2  the server can't be reached, started, or is something else
├── StoreError          exit 2  a stored run is missing, ambiguous, damaged or too new
└── InvalidMeasurement  exit 3  the numbers can't be trusted, and why

A failed *request* is never an exception: it is a `Record` with an outcome.
Every message says what to do next and holds no key, prompt or answer.
"""


class BenchsuiteError(Exception):
    """Base of all errors that are told to the user instead of traced."""

    exit_code = 2


class UsageError(BenchsuiteError):
    """What was asked makes no sense; the message names the nearest thing that does."""


class TargetError(BenchsuiteError):
    """The server under test can't be reached, started or identified."""


class StoreError(BenchsuiteError):
    """A stored run is missing, ambiguous, damaged, or written by a newer version."""


class InvalidMeasurement(BenchsuiteError):
    """The measurement took place but its numbers can't be trusted."""

    exit_code = 3
