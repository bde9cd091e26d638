"""The day of the demo, in milliseconds since 1970, and the pause that ends a session."""

BATCH = "2024-01-02"
DAY_START = 1_704_153_600_000
"""Midnight UTC of `BATCH`."""
DAY = 24 * 60 * 60 * 1000
SESSION_GAP = 30 * 60 * 1000
"""A longer pause ends a session; a pause of exactly this length does not."""
