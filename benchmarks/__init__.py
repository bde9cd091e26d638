"""The cost and the savings, against peers and floors that run in turn: `python -m benchmarks`."""
