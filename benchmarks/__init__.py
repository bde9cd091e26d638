"""What this costs and what it saves, against peers and floors run in turn with it: `python -m benchmarks`."""
