"""What a fault does to a call's answer."""

from typing import Final

from emulator.faults import Fault
from emulator.messages import Reply, refuse
from emulator.refusal import Refusal

_ERRORS: Final = {
    Fault.INTERNAL_ERROR: Refusal("InternalServerException", "An internal error occurred."),
    Fault.UNAVAILABLE: Refusal("ServiceUnavailable", "The service is unavailable."),
}
_DONE: Final = Reply()
BEFORE: Final = frozenset({*_ERRORS, Fault.RESET_BEFORE, Fault.HANG_BEFORE})
"""The faults that strike before anything is accepted."""

# A real success has no body, so a client may think that it need not read one. If it does not, this comes before
# the next answer. If it does, it is held for as long as that takes: with a byte now and then, no read times out.
_SLOW_BODY: Final = b"{}".rjust(20)


def inject(fault: Fault | None, delay: float, slow_body_ms: float) -> Reply:
    """Return the answer to a good call that meets a fault, or none.

    Args:
        fault: what the call meets.
        delay: seconds before it does.
        slow_body_ms: milliseconds that the body takes, if that is the fault.
    """
    if fault is None:
        return Reply(delay=delay) if delay else _DONE
    if fault in _ERRORS:
        return refuse(_ERRORS[fault], delay)
    if fault is Fault.SLOW_BODY:
        return Reply(body=_SLOW_BODY, delay=delay, drip=slow_body_ms / 1000.0)
    hangs = fault in {Fault.HANG_BEFORE, Fault.HANG_AFTER}
    return Reply(delay=delay, hang=hangs, reset=not hangs)
