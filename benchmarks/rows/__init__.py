"""The rows: one module for each group."""
