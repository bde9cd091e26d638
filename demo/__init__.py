"""A day of records from raw log to PutEvents, checked event by event.

`python -m demo` writes the raw log of a web shop, runs both jobs against a local PutEvents service and
compares what arrived with what the writer of the log knows. It imports none of the other packages, because it checks
them.
"""
