"""How things are measured: programs and what they take, contestants in turn, an emulator in a process apart."""
