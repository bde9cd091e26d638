"""Locks by files: one delivery to a tracker at a time, one build of a batch at a time."""
