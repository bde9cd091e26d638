"""Sends requests through PutEvents, and coordinates the tasks of a delivery with its driver.

Imports no pyspark: it runs in an executor's Python worker, in the driver, or in a test without a JVM. `task` is one
attempt at one partition, with Arrow batches in and out. `control` is the protocol between tasks and driver, `sender`
calls, retries and splits requests, `rate` leases calls a second, `http` makes a call, `responses` says what each
response means.
"""
