"""Imports slow modules while Spark works."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from threading import Thread
from typing import Final

log = logging.getLogger(__name__)

_USUAL_INTERVAL: Final = sys.getswitchinterval()
_SHORT_INTERVAL: Final = 0.0002
"""Seconds. Meanwhile the main thread makes thousands of small calls to the JVM; each may wait so long for its turn."""


def start_import(module: str) -> None:
    """Import a module in a thread of its own. A later import waits for it, or raises what it raised.

    The thread is not a daemon, so the interpreter waits for it at its end. Otherwise an import of compiled modules at
    that moment would end the process with "Fatal Python error" and another exit code than the job's.
    """
    Thread(target=_import, args=(module,), name=f"import {module}").start()


def _import(module: str) -> None:
    sys.setswitchinterval(_SHORT_INTERVAL)
    try:
        import_module(module)
    except Exception as failure:  # a later import raises it again
        log.debug("importing %s: %s", module, type(failure).__name__)
    finally:
        sys.setswitchinterval(_USUAL_INTERVAL)
