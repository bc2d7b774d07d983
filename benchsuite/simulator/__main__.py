"""`python -m benchsuite.simulator --config JSON [--until-eof]`: serve until a signal or the end of stdin.

Prints one line of JSON, `url` and `pid`, as soon as clients can connect.
"""

import argparse
import os
import sys

import msgspec

from benchsuite.errors import BenchsuiteError
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.server import serve


def _tell(url: str) -> None:
    print(msgspec.json.encode({"url": url, "pid": os.getpid()}).decode(), flush=True)


def main() -> int:
    """Serve; 2 where the configuration or the address is no good."""
    parser = argparse.ArgumentParser(prog="python -m benchsuite.simulator")
    parser.add_argument("--config", default="{}", help="a SimConfig as JSON")
    parser.add_argument("--until-eof", action="store_true", help="end with standard input")
    options = parser.parse_args()
    try:
        config = msgspec.json.decode(options.config, type=SimConfig)
        serve(config, _tell, stop_fd=sys.stdin.fileno() if options.until_eof else None)
    except (BenchsuiteError, msgspec.DecodeError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
