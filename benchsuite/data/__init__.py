"""Data files shipped with benchsuite: the word list that prompts are made of."""
