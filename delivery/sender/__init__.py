"""The way of a request in a task: taken, called, called again, split, until it has an outcome."""
