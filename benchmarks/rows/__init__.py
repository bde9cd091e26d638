"""The rows, a module a group."""
