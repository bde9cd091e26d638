"""The spark-submit entry points, and what only they may do: build a SparkSession, read the clock, touch the lake.

`build_events` and `put_events` are the jobs; the folders hold what they are made of, `errors` how they fail.
"""
