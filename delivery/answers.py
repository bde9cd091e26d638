"""What each answer means: the one table that says what is retried, what is refused and what stops the delivery."""

from __future__ import annotations

from enum import Enum
from typing import Final

from delivery.http.faults import UNREACHABLE
from delivery.records import Answer


class Meaning(Enum):
    """What to do after an answer."""

    DELIVERED = "the events are acknowledged"
    THROTTLED = "the quota is used up: back off and call again"
    FAULT = "the service or the way to it failed: back off and call again"
    REFUSED = "the request is not valid: alone it goes to dead_letters, with others it is split"
    EXPIRED = "the credentials are too old: find new ones and call again"
    UNREACHABLE = "nobody is there to call: call again, unless nobody ever was"
    STOP = "no request can succeed until somebody mends the set-up"


_BY_CODE: Final = {
    "ThrottlingException": Meaning.THROTTLED,
    "Throttling": Meaning.THROTTLED,
    "ThrottledException": Meaning.THROTTLED,
    "TooManyRequestsException": Meaning.THROTTLED,
    "RequestLimitExceeded": Meaning.THROTTLED,
    "LimitExceededException": Meaning.THROTTLED,
    "RequestThrottled": Meaning.THROTTLED,
    "RequestThrottledException": Meaning.THROTTLED,
    "ProvisionedThroughputExceededException": Meaning.THROTTLED,
    "BandwidthLimitExceeded": Meaning.THROTTLED,
    "SlowDown": Meaning.THROTTLED,
    "RequestAbortedException": Meaning.FAULT,
    "RequestTimeout": Meaning.FAULT,
    "RequestTimeoutException": Meaning.FAULT,
    "ExpiredToken": Meaning.EXPIRED,
    "ExpiredTokenException": Meaning.EXPIRED,
    "AccessDeniedException": Meaning.STOP,
    "AccessDenied": Meaning.STOP,
    "IncompleteSignature": Meaning.STOP,
    "IncompleteSignatureException": Meaning.STOP,
    "InvalidClientTokenId": Meaning.STOP,
    "InvalidSignatureException": Meaning.STOP,
    "MissingAuthenticationToken": Meaning.STOP,
    "MissingAuthenticationTokenException": Meaning.STOP,
    "NotAuthorized": Meaning.STOP,
    "NotTheService": Meaning.STOP,
    "OptInRequired": Meaning.STOP,
    "RequestExpired": Meaning.STOP,
    "ResourceNotFoundException": Meaning.STOP,
    "SignatureDoesNotMatch": Meaning.STOP,
    "UnrecognizedClientException": Meaning.STOP,
    # boto3's, on this side of the wire. What may pass, e.g. a metadata service that does not answer, is a fault
    # (CredentialRetrievalError); NoCredentialsError says that nobody is there who could be asked.
    "ConfigNotFound": Meaning.STOP,
    "ConfigParseError": Meaning.STOP,
    "InvalidConfigError": Meaning.STOP,
    "InfiniteLoopConfigError": Meaning.STOP,
    "InvalidIMDSEndpointError": Meaning.STOP,
    "InvalidIMDSEndpointModeError": Meaning.STOP,
    "InvalidRegionError": Meaning.STOP,
    "LoginInsufficientPermissions": Meaning.STOP,
    "LoginRefreshRequired": Meaning.STOP,
    "LoginTokenLoadError": Meaning.STOP,
    "MissingDependencyException": Meaning.STOP,
    "NoCredentialsError": Meaning.STOP,
    "NoRegionError": Meaning.STOP,
    "PartialCredentialsError": Meaning.STOP,
    "ProfileNotFound": Meaning.STOP,
    "ProxySettingError": Meaning.STOP,
    "SSOTokenLoadError": Meaning.STOP,
    "UnauthorizedSSOTokenError": Meaning.STOP,
    "UnknownCredentialError": Meaning.STOP,
    **dict.fromkeys(UNREACHABLE, Meaning.UNREACHABLE),
}


def meaning(answer: Answer) -> Meaning:
    """Read an answer: its code first, then its status.

    Examples:
        >>> meaning(Answer(200)).name, meaning(Answer(None, "ReadTimeoutError")).name
        ('DELIVERED', 'FAULT')
        >>> meaning(Answer(400, "ThrottlingException")).name, meaning(Answer(400, "InvalidInputException")).name
        ('THROTTLED', 'REFUSED')
    """
    if answer.errorCode is None:
        return Meaning.DELIVERED
    named = not answer.errorCode.isdigit()  # boto3 gives the status for a code where the answer names none
    return _BY_CODE.get(answer.errorCode) or _by_status(answer.httpStatus, named)


def _by_status(status: int | None, named: bool) -> Meaning:
    if status is None or status == 408 or status >= 500:
        return Meaning.FAULT
    if status == 429:
        return Meaning.THROTTLED
    # Only these can be about what a request holds. A redirect, a proxy's 407 or a nameless 400 refuses no event.
    return Meaning.REFUSED if status == 413 or (status == 400 and named) else Meaning.STOP
