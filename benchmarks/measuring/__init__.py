"""Measures: the time of programs, contestants in turn, an emulator in its own process."""
