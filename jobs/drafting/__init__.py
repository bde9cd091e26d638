"""A first mapping for a log: what its files hold, and which columns are which fields of an event."""
