"""The command line against real engines."""

import os
import subprocess
import sys


def benchsuite(store, *words, expect=(0,)):
    done = subprocess.run(
        [sys.executable, "-m", "benchsuite", *words],
        env={**os.environ, "BENCHSUITE_STORE": str(store)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode in expect, done.stdout + done.stderr
    return done.stdout
