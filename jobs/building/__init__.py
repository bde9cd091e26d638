"""Raw logs to a batch: the rows' fates, what batches before tell, the gate and its page."""
