"""What each job checks of the driver's Python before it imports anything else of ours.

Python older than 3.11 has to read this module, and to run it as far as the check of its own version.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec

_CONFIGURATION = 2
"""The exit code. `jobs.errors` names it, but an old Python cannot import that."""


def run_preflight(job: str, libraries: Iterable[str], if_interrupted: str) -> None:
    """End the process with a summary if the driver's Python cannot run a job; otherwise listen to signals from now on.

    Args:
        job: its name.
        libraries: top-level modules that the job needs on the driver, beside the project's own.
        if_interrupted: what an interruption leaves behind while the job is imported, and what to do then.
    """
    fault = find_fault(libraries)
    if fault is not None:
        summary = json.dumps({"job": job, "batch": None, "exitCode": _CONFIGURATION, "error": fault})
        for stream, line in ((2, f"error: {fault}"), (1, summary)):
            with suppress(OSError):  # nobody may be there to read it
                os.write(stream, f"{line}\n".encode())
        sys.exit(_CONFIGURATION)
    from jobs.cli.early_signals import EarlySignals  # noqa: PLC0415 - an old Python cannot import it

    EarlySignals(job, if_interrupted).listen()


def find_fault(libraries: Iterable[str]) -> str | None:
    """Say why the driver's Python cannot run a job; None where it can.

    Examples:
        >>> find_fault(["json"])
        >>> find_fault(["json", "no_such_library"])
        "the driver's Python lacks no-such-library: --py-files clickstream_events.zip brings jobs, pip the rest"
    """
    if sys.version_info < (3, 11):  # noqa: UP036 - Spark starts whatever Python it is told, and clusters have old ones
        return "the driver's Python is older than 3.11: set PYSPARK_DRIVER_PYTHON (for YARN, see docs/deploy.md)"
    lacking = [name.replace("_", "-") for name in libraries if find_spec(name) is None]
    if lacking:
        names = ", ".join(lacking)
        return f"the driver's Python lacks {names}: --py-files clickstream_events.zip brings jobs, pip the rest"
    return None
