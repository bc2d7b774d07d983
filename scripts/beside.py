"""A simulator that runs beside a proof, first in line for a core: one that waits is another server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

FIRST = ["nice", "-n", "-15"] if os.geteuid() == 0 else []
"""What puts a command first in line, where that is allowed."""


@contextmanager
def simulator(port: int, *options: str) -> Iterator[str]:
    """Its address, once it answers."""
    command = [*FIRST, sys.executable, "-m", "benchsuite", "simulate", "--port", str(port), *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        server.stdout.readline()
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait()
