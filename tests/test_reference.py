"""docs/reference says what the code says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_reference_is_what_the_code_says_now(tmp_path):
    made = tmp_path / "reference"
    subprocess.run([sys.executable, ROOT / "scripts" / "make_reference.py", made], check=True, timeout=120)
    kept = ROOT / "docs" / "reference"
    assert {page.name for page in kept.iterdir()} == {page.name for page in made.iterdir()}
    stale = [page.name for page in made.iterdir() if page.read_bytes() != (kept / page.name).read_bytes()]
    assert not stale, f"{', '.join(stale)} in docs/reference: run `make reference`"
