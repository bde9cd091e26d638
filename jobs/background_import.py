"""Slow imports, done while Spark is at work."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from threading import Thread
from typing import Final

log = logging.getLogger(__name__)

_USUAL_INTERVAL: Final = sys.getswitchinterval()
_SHORT_INTERVAL: Final = 0.0002
"""Seconds: the main thread asks the JVM thousands of small questions meanwhile; each may wait so long for its turn."""


def start_import(module: str) -> None:
    """Import a module in a thread of its own; whoever imports it again waits for it, or is told why it failed.

    The interpreter waits for the thread when it ends, so it is no daemon: an import of compiled modules that is under
    way when the interpreter goes down ends it with "Fatal Python error", and with another exit code than the job's.
    """
    Thread(target=_import, args=(module,), name=f"import {module}").start()


def _import(module: str) -> None:
    sys.setswitchinterval(_SHORT_INTERVAL)
    try:
        import_module(module)
    except Exception as failure:  # whoever imports it again says so
        log.debug("importing %s: %s", module, type(failure).__name__)
    finally:
        sys.setswitchinterval(_USUAL_INTERVAL)
