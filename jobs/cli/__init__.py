"""What every job stands in: command line, session, interruption, summary and exit code."""
