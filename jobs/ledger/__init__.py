"""What was planned, called and acknowledged, durable through any crash."""
