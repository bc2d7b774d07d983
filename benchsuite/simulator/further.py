"""Pages that come on top of every server's own: see `site.py` for how to add some."""

from collections.abc import Callable
from typing import Final

from benchsuite.simulator import batches
from benchsuite.simulator.site import Site

FURTHER: Final[tuple[Callable[[Site], None], ...]] = (batches.register,)
"""Each is called once for each server that is made."""
