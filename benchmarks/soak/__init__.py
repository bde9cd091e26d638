"""A long delivery on a real cluster while something fails every few seconds, and a check of all promises."""
