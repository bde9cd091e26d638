"""What the user hands in, read and checked: raw logs, mappings, files of settings."""
