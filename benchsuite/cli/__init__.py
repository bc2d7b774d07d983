"""The command line. A command parses, calls one library function and prints; its module loads when named.

Exit codes: 0 done (valid or suspect), 1 only a failing gate, 2 usage, configuration, target or a declined
prompt, 3 invalid measurement, 4 nothing comparable, 5 undecided, 70 internal error, 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from benchsuite.cli.root import root
from benchsuite.errors import BenchsuiteError

INTERNAL_ERROR = 70
INTERRUPTED = 130


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code."""
    try:
        code = root.main(args, prog_name="benchsuite", standalone_mode=False)
    except BenchsuiteError as error:
        return _told(str(error), error.exit_code)
    except click.ClickException as error:
        return _told(_about(error), 2)
    except click.Abort as abort:
        if isinstance(abort.__cause__ or abort.__context__, KeyboardInterrupt):
            return _told("interrupted", INTERRUPTED)
        return _told("stopped: nothing was measured", 2)
    except SystemExit:
        # click ends like this only when nobody reads its output any more, or for shell completion.
        return 0
    except Exception as error:
        return _internal(error)
    return code if isinstance(code, int) else 0


def _about(error: click.ClickException) -> str:
    """What click found wrong, with where to read on."""
    context = getattr(error, "ctx", None)
    help_hint = f" ({context.command_path} --help)" if context is not None else ""
    return f"{error.format_message().rstrip('.')}{help_hint}"


def _told(message: str, code: int) -> int:
    click.echo(f"benchsuite: {message}", err=True)
    return code


def _internal(error: Exception) -> int:
    """One line by default, and without the exception's text: it might hold a header or an answer."""
    if os.environ.get("BENCHSUITE_TRACE") == "1":
        traceback.print_exception(error, file=sys.stderr)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return _told(
        f"internal error: {type(error).__name__}{where}. This is a bug; "
        "BENCHSUITE_TRACE=1 shows where it happened",
        INTERNAL_ERROR,
    )
