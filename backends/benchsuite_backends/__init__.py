"""The drivers that come with benchsuite, one module per backend; each is found through its entry point."""
