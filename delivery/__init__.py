"""Requests through PutEvents, and what the tasks of a delivery and its driver agree on.

Imports no pyspark: it runs in an executor's Python worker, in the driver, or in a test without any JVM. `arrow` is the
door to Spark, `task` one attempt at one part, `answers` what each answer means; `sending` is the way of a request,
`budget` how fast, `channel` what tasks and driver say to each other, `http` how a call is made.
"""
