"""Start, await and stop engines through a guardian; the embedded engine; models made on the spot.

Empty on purpose: the guardian runs as a module of this package and has to start in an instant.
Import from `benchsuite.servers.launch` and `benchsuite.servers.model`.
"""
