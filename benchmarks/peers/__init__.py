"""The contestants: scripts that run in their own processes. Their last line of output is their counts as JSON."""
