"""One run a delivery, and one build of a batch, at a time; by files alone."""
