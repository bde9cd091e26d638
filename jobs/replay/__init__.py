"""Many batches at once: which they are, what is left of them, sent in order or written for a bulk import."""
