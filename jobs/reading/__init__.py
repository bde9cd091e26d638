"""Reads and checks what the user hands in: raw logs, mappings, settings files."""
