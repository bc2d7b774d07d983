"""`python -m benchsuite` is `benchsuite`."""

import sys

from benchsuite.cli import main

if __name__ == "__main__":
    sys.exit(main())
