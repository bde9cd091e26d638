"""The whole way of a day's records, from raw log to PutEvents, checked event by event.

`python -m demo` writes the raw log of a web shop, takes it through both jobs to a local PutEvents service and
compares what arrived with what the log's writer knows. It imports none of the other packages: it judges them.
"""
