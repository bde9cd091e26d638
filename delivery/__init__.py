"""One partition's requests through PutEvents: an iterator of requests in, an iterator of outcomes out.

Imports no pyspark: it runs in an executor's Python worker, or in a test without any JVM. `arrow` is the door to
Spark, `sender` the way of a request, `answers` what each answer means, `retry` and `pacing` when to call again,
`client` boto3.
"""
