"""A long delivery on a real cluster while something fails every few seconds, and whether all promises were kept."""
