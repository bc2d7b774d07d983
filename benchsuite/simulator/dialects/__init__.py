"""One module a dialect: what it reads, and what it says, written from its specification.

Nothing here knows benchsuite's own readers, so that each can be a test of the other.
"""
