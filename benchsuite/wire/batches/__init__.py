"""Batch APIs: many requests handed over at once, answered within hours, in any order."""
