"""The mapping file: what a user writes to map one raw record to candidates."""
