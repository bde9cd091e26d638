"""One run a delivery at a time, by files alone."""
