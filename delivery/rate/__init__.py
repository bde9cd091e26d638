"""How fast: the limit, what is aimed at, who is leased what, and when the next call may start."""
