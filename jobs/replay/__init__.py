"""Replays many batches: which they are, what is left of them, sent in order or exported for a bulk import."""
