"""A run over a batch API: handed in once, awaited, fetched; through any crash."""
