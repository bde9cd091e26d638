"""The lake: tables, their publication by manifest, and the file system below them."""
