"""Builds a batch from raw logs: rows, counts, history, the gate and its page."""
