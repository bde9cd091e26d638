"""The contestants: scripts, each run in a process of its own, whose last line of output tells their counts as JSON."""
