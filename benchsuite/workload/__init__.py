"""From a workload file to planned requests: pure and seeded, no clock and no sockets.

`load` reads and changes workloads, `fit` finds words of known cost on a server, `plan` makes the
requests, `card` explains a workload to people. Import from those modules.
"""
