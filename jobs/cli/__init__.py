"""What all jobs share: command line, session, interruption, summary and exit code."""
