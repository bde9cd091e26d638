"""Column → Column and DataFrame → DataFrame: no I/O, no clock, no network, no Python UDF.

A record passes through the modules in this order: `parsing` (raw text to columns), `records` (filter and explode),
`candidates` (event fields and eventId), `sessions` (duplicates and sessions), `packing` (requests). `mapping` holds
what the user wrote: its model, reader, checks and expressions.

`wire` makes the JSON, `schemas` has the tables' columns, `limits` the service's limits, `columns` the columns that are
added to records, `measures` the aggregates for plans and reports.
"""
