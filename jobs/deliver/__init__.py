"""A plan through PutEvents: the Spark job, the driver's watch over it, how it ended."""
