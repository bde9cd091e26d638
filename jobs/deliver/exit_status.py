"""Explains how a delivery ended: what was wrong, what to check, and the exit code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from delivery.call_statistics import CallStatistics
from delivery.http.endpoint import TrackerEndpoint
from delivery.model import Response
from delivery.responses import (
    BAD_ANSWER,
    CLOSED,
    NO_ANSWER,
    NOT_ANSWERED_IN_TIME,
    NOT_LET_THROUGH,
    NOT_REACHED,
    NOT_REACHED_IN_TIME,
    NOT_THE_SERVICE,
    NOT_TRUSTED,
    ResponseMeaning,
    interpret_response,
)
from jobs.deliver.delivery_monitor import DeliveryResult
from jobs.errors import ConfigurationError, Exit, UnfinishedError
from jobs.ledger.plans import Kind

_ALL_SUSPECTS: Final = "the endpoint, the region, the tracking id and the credentials"
_SUSPECTS: Final = {
    "AccessDeniedException": "that the credentials have the right to personalize:PutEvents",
    "ExpiredTokenException": "the session token, which has expired",
    "InvalidSignatureException": "the secret key, and the clock",
    "NoCredentialsError": "that the executors find credentials too",
    "ProxySettingError": "the executors' HTTPS_PROXY, HTTP_PROXY and NO_PROXY: one is not the URL of a proxy",
    "ResourceNotFoundException": "the tracking id and the region",
    "UnrecognizedClientException": "the access key",
}
_ENDPOINT_SETTINGS: Final = "--endpoint-url, AWS_ENDPOINT_URL_PERSONALIZE_EVENTS, AWS_ENDPOINT_URL"
"""The settings that name an endpoint."""
_NETWORK_CAUSES: Final = "the executors' way to it (network, proxy, certificates)"
_NO_ANSWER_REASONS: Final = {
    BAD_ANSWER: "what answers is not HTTP",
    CLOSED: "connections are closed before an answer",
    NOT_ANSWERED_IN_TIME: "no answer in time",
    NOT_LET_THROUGH: "the proxy cannot be reached, or refuses",
    NOT_REACHED: "connection refused, or no such host",
    NOT_REACHED_IN_TIME: "no connection in time",
    NOT_TRUSTED: "TLS cannot be agreed: the certificate, or http instead of https",
}
"""The reasons for no answer, by error code."""


class _Cause(NamedTuple):
    """Our message for an error of Spark, because Spark's own words may quote a record.

    Attributes:
        pattern: is searched in the error; its group, if any, is inserted into `message`.
        message: what happened.
        remedy: what to do before another run; None if another run is enough.
    """

    pattern: re.Pattern[str]
    message: str
    remedy: str | None = None


_INSTALL: Final = "install boto3 and pyarrow in the Python that PYSPARK_PYTHON names there"
CAUSES: Final = (
    _Cause(
        re.compile("DriverNotReachedError"),
        "the tasks could not reach the driver",
        "open a port from the executors to the driver, name it with --channel-port",
    ),
    _Cause(
        re.compile(r"No module named 'delivery\b"),
        "the executors cannot import the project",
        "give spark-submit --py-files clickstream_events.zip",
    ),
    _Cause(re.compile("No module named 'botocore"), "the executors' Python lacks boto3", _INSTALL),
    _Cause(re.compile(r"No module named '(\w+)"), "the executors' Python lacks {}", _INSTALL),
    _Cause(
        re.compile(r"(PyArrow) >= \S+ must be installed"), "the executors' Python lacks {}, or has it too old", _INSTALL
    ),
    _Cause(
        re.compile("PYTHON_VERSION_MISMATCH|Python in worker has different version"),
        "the executors' Python has another version than the driver's",
        "set PYSPARK_PYTHON there to a Python of the driver's version",
    ),
    _Cause(
        re.compile("Cannot run program"),
        "the executors cannot start their Python",
        "set PYSPARK_PYTHON to a Python that exists there",
    ),
    _Cause(
        re.compile("No space left on device|Disk quota exceeded"),
        "no space left in Spark's own folders (spark.local.dir)",
    ),
    _Cause(re.compile("Python worker exited unexpectedly"), "a Python worker died"),
    _Cause(re.compile("ExecutorLostFailure"), "an executor was lost"),
)
"""The first match counts."""


def exit_of(
    result: DeliveryResult | None,
    counters: Mapping[str, Any],
    service: TrackerEndpoint,
    *,
    interrupted: bool,
    kind: Kind = "batch",
) -> Exit:
    """Decide the exit code of a delivery.

    Args:
        result: the result of the sending; None if there was nothing to send.
        counters: the summary's.
        service: the tracker.
        interrupted: whether a signal asked it to end.
        kind: which events it sends.

    Raises:
        ConfigurationError: the user must correct something first.
        UnfinishedError: events are pending for the next run.
    """
    if not counters["pending"]:
        return Exit.DEAD_LETTERS if counters["deadLettered"] else Exit.DONE
    pending = describe_pending(counters)
    if result is not None and result.ending is not None:
        calls = result.progress.calls
        if result.ending.errorCode in NO_ANSWER and not calls.answered:
            raise _explain_unreachable(result.ending, pending, service)
        if result.ending.errorCode == NOT_THE_SERVICE:
            raise _explain_other_server(result.ending, pending, service)
        if interpret_response(result.ending) is ResponseMeaning.REFUSED:
            raise _explain_refusal(result.ending, pending, calls)
        raise _explain_ending(result.ending, pending)
    if interrupted:
        raise UnfinishedError(f"interrupted: {pending}; run this again, it resumes")
    if result is not None and result.failure is not None:
        raise _explain_failure(result.failure, pending)
    if kind == "dead-letters":
        raise UnfinishedError(
            f"{pending} that are not dead letters: run put_events without --retry-dead-letters, it sends them"
        )
    raise UnfinishedError(f"{pending}; run this again, it resumes")


def describe_pending(counters: Mapping[str, Any]) -> str:
    """Describe how many events are pending."""
    return f"{counters['pending']:,} events are pending"


def _explain_unreachable(
    answer: Response, pending: str, service: TrackerEndpoint
) -> ConfigurationError | UnfinishedError:
    """Explain an endpoint that does not answer. The region's own will recover; one that the user set may be wrong."""
    why = _NO_ANSWER_REASONS.get(answer.errorCode or "", _describe_response(answer))
    nobody = f"nobody answers at {_describe_address(service)} ({why}): {pending}"
    if not service.regional:
        return ConfigurationError(f"{nobody}; check {_ENDPOINT_SETTINGS} and {_NETWORK_CAUSES}, then run this again")
    return UnfinishedError(
        f"{nobody}; run this again, it resumes; if it fails again, check the region and {_NETWORK_CAUSES}"
    )


def _explain_other_server(answer: Response, pending: str, service: TrackerEndpoint) -> ConfigurationError:
    return ConfigurationError(
        f"a server other than Amazon Personalize answers at {_describe_address(service)} (HTTP {answer.httpStatus}): "
        f"{pending}; check {_ENDPOINT_SETTINGS} and the proxy, then run this again"
    )


def _describe_address(service: TrackerEndpoint) -> str:
    """Describe the destination of calls."""
    return f"Amazon Personalize in {service.region}" if service.regional else service.endpoint


def _explain_refusal(answer: Response, pending: str, calls: CallStatistics) -> ConfigurationError:
    """Explain that the service has accepted no event: probably a setting is wrong, not the events."""
    which = f"every call since it last acknowledged one, of {calls.attempts:,}" if calls.acknowledged else "every call"
    words = f": {answer.errorMessage}" if answer.errorMessage else ""
    return ConfigurationError(
        f"the service refused {which}: {_describe_response(answer)}{words}",
        f"{pending}; no dead letter was written for them; check the tracking id, the region and the dataset's schema,"
        " then run this again; if the events are wrong, --accept-failures makes dead letters of them",
    )


def _explain_ending(answer: Response, pending: str) -> ConfigurationError | UnfinishedError:
    response = _describe_response(answer)
    what = interpret_response(answer)
    if what in (ResponseMeaning.STOP, ResponseMeaning.EXPIRED):
        suspect = _SUSPECTS.get(answer.errorCode or "", _ALL_SUSPECTS)
        who = "the service answered" if answer.httpStatus else "the executors cannot call the service:"
        return ConfigurationError(f"{who} {response}: {pending}; check {suspect}, then run this again")
    if answer.errorCode == "CredentialRetrievalError":
        return UnfinishedError(
            f"the executors' source of AWS credentials gave none for too long: {pending}; run this again, it resumes"
        )
    return UnfinishedError(f"out of retries after {response}: {pending}; run this again, it resumes")


def _describe_response(answer: Response) -> str:
    return f"{answer.errorCode} (HTTP {answer.httpStatus})" if answer.httpStatus else str(answer.errorCode)


def _explain_failure(failure: Exception, pending: str) -> Exception:
    for cause in CAUSES:
        if found := cause.pattern.search(str(failure)):
            why = cause.message.format(*found.groups())
            if cause.remedy is not None:
                return ConfigurationError(f"{why}: {pending}; {cause.remedy}, and run this again")
            return UnfinishedError(f"{why}: {pending}; run this again, it resumes")
    if type(failure).__name__ == "PythonException":
        return failure  # our own code raised it
    return UnfinishedError(f"Spark's job failed ({type(failure).__name__}): {pending}; run this again, it resumes")
