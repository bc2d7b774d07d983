"""Run directories and the records in them: written so that a crash loses at most one trial."""

from benchsuite.store.runs import RunDir, Store, default_store, new_run_id

__all__ = ["RunDir", "Store", "default_store", "new_run_id"]
