"""A task's requests: buffered, queued, called, retried and split, until each has an outcome."""
