"""How a delivery ended, in words: what was wrong, what to look at, and the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from delivery.answers import Meaning, meaning
from delivery.records import Answer
from jobs.errors import ConfigurationError, Exit, UnfinishedError
from jobs.sending.attendance import Sent

_ANYTHING: Final = "the endpoint, the region, the tracking id and the credentials"
_SUSPECTS: Final = {
    "AccessDeniedException": "that the credentials have the right to personalize:PutEvents",
    "ExpiredTokenException": "the session token, which has expired",
    "InvalidSignatureException": "the secret key, and the clock",
    "NoCredentialsError": "that the executors find credentials too",
    "NotTheService": "the endpoint: something else answers there",
    "ResourceNotFoundException": "the tracking id and the region",
    "UnrecognizedClientException": "the access key",
}
_LOST: Final = {
    "DriverNotReachedError": "the tasks could not reach the driver",
    "Python worker exited unexpectedly": "a Python worker died",
    "ExecutorLostFailure": "an executor was lost",
}
"""What Spark's error says, and what we say of it: its own words may quote a record."""


def ending(sent: Sent | None, counters: Mapping[str, Any], *, interrupted: bool) -> Exit:
    """Say how a delivery ended.

    Args:
        sent: what came of the sending; None where nothing was to be sent.
        counters: of the summary.
        interrupted: whether somebody asked it to end.

    Raises:
        ConfigurationError: somebody must mend something first.
        UnfinishedError: events are left for the next run.
    """
    if not counters["pending"]:
        return Exit.DEAD_LETTERS if counters["deadLettered"] else Exit.DONE
    waits = waiting(counters)
    if sent is not None and sent.ending is not None:
        raise _ended(sent.ending, waits, answered=sent.progress.calls.answered > 0)
    if interrupted:
        raise UnfinishedError(f"interrupted: {waits}; run this again, it resumes")
    if sent is not None and sent.failure is not None:
        raise _failed(sent.failure, waits)
    raise UnfinishedError(f"{waits}; run this again, it resumes")


def waiting(counters: Mapping[str, Any]) -> str:
    """Say how many events are left for another run."""
    return f"{counters['pending']:,} events wait"


def _ended(answer: Answer, waits: str, *, answered: bool) -> ConfigurationError | UnfinishedError:
    said = f"{answer.errorCode} (HTTP {answer.httpStatus or 'none'})"
    what = meaning(answer)
    if what is Meaning.UNREACHABLE and not answered:
        return ConfigurationError(
            f"nobody answers at the service ({said}): {waits}; check the endpoint, the region and the executors' way "
            "to it (network, proxy, certificates), then run this again"
        )
    if what in (Meaning.STOP, Meaning.EXPIRED):
        suspect = _SUSPECTS.get(answer.errorCode or "", _ANYTHING)
        return ConfigurationError(f"the service answered {said}: {waits}; check {suspect}, then run this again")
    return UnfinishedError(f"out of retries after {said}: {waits}; run this again, it resumes")


def _failed(failure: Exception, waits: str) -> Exception:
    text = str(failure)
    known = next((sign for sign in _LOST if sign in text), None)
    if known == "DriverNotReachedError":
        return ConfigurationError(
            f"{_LOST[known]}: {waits}; open a port from the executors to the driver, name it by --channel-port, and "
            "run this again"
        )
    if known is None and type(failure).__name__ == "PythonException":
        return failure  # code of ours that raised
    why = _LOST[known] if known else f"Spark's job failed ({type(failure).__name__})"
    return UnfinishedError(f"{why}: {waits}; run this again, it resumes")
