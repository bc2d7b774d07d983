"""The standard workloads, one TOML file each, named `name@version.toml`.

A published file never changes: a better one gets the next version. `workloads/README.md` explains the keys.
"""
