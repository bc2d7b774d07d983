"""Does a build pass? Two arms in turn, a run against the store's history, limits that need neither."""
