"""A run's report: one HTML page beside its summary, made from numbers alone."""
