"""Data files shipped with benchsuite: the words and the texts that prompts are made of."""
