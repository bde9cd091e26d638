"""A run's report: one page of HTML beside its summary, from numbers alone."""
