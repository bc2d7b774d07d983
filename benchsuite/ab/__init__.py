"""Two targets measured in turn until the difference is known: `benchsuite ab`, and a live gate."""
