"""Column → Column and DataFrame → DataFrame: no I/O, no clock, no network, no Python UDF.

The way of a record runs through the modules in this order: `mapping` (what the user wrote; `mapping_reader` and
`mapping_check` find its faults), `parsing` (raw text to columns), `records` (filter and explode), `candidates`
(event fields and eventId), `sessions` (duplicates and sessions), `packing` (requests).

`wire` makes the JSON, `schemas` has the tables' columns, `limits` the service's numbers, `bookkeeping` the columns that
travel along; `expressions` guards what users wrote.
"""
