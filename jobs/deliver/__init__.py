"""Delivers a batch's plan through PutEvents: the Spark job, its monitor on the driver, its exit status."""
