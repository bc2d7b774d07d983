"""Dollars: what a GPU costs an hour, and from that what requests and tokens cost; pure.

The price book, `gpus.toml`, is the only thing that is read here. A price that isn't known is None,
never 0.
"""
