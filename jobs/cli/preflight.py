"""Checks the driver's Python before a job imports any other module of the project.

A Python older than 3.11 must be able to parse this module, and to run it up to the check of its version.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec

_CONFIGURATION = 2
"""The exit code of `jobs.errors`, which an old Python cannot import."""


def run_preflight(job: str, libraries: Iterable[str], if_interrupted: str) -> None:
    """End the process with a summary if the driver's Python cannot run the job; otherwise start to listen for signals.

    Args:
        job: its name.
        libraries: top-level modules that the job needs on the driver besides the project's own.
        if_interrupted: what an interruption during the import leaves behind, and what the user does then.
    """
    fault = find_fault(libraries)
    if fault is not None:
        summary = json.dumps({"job": job, "batch": None, "exitCode": _CONFIGURATION, "error": fault})
        for stream, line in ((2, f"error: {fault}"), (1, summary)):
            with suppress(OSError):  # the stream may be closed
                os.write(stream, f"{line}\n".encode())
        sys.exit(_CONFIGURATION)
    from jobs.cli.early_signals import EarlySignals  # noqa: PLC0415 - an old Python cannot import it

    EarlySignals(job, if_interrupted).listen()


def find_fault(libraries: Iterable[str]) -> str | None:
    """Explain why the driver's Python cannot run the job; None if it can.

    Examples:
        >>> find_fault(["json"])
        >>> find_fault(["json", "no_such_library"])
        "the driver's Python lacks no-such-library: --py-files clickstream_events.zip brings jobs, pip the rest"
    """
    if sys.version_info < (3, 11):  # noqa: UP036 - Spark starts any Python, and clusters have old ones
        return "the driver's Python is older than 3.11: set PYSPARK_DRIVER_PYTHON (for YARN, see docs/deploy.md)"
    lacking = [name.replace("_", "-") for name in libraries if find_spec(name) is None]
    if lacking:
        names = ", ".join(lacking)
        return f"the driver's Python lacks {names}: --py-files clickstream_events.zip brings jobs, pip the rest"
    return None
