"""The spark-submit entry points, and what only they may do: build a SparkSession, read the clock, touch the lake.

`build_events` and `put_events` are the jobs. `run` frames each (summary, exit code), `arguments` and `mappings` read
what the user wrote, `session` opens Spark, `sources` reads raw logs, `lake` keeps the tables and `ledger` what was
delivered, `filesystem` is Hadoop's.
"""
