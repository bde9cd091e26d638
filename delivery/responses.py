"""What each response means: the one table of what is retried, what is refused and what stops the delivery."""

from __future__ import annotations

from enum import Enum
from typing import Final

import botocore.exceptions
from botocore.exceptions import (
    BotoCoreError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    TokenRetrievalError,
)

from delivery.model import Response

NOT_REACHED: Final = "EndpointConnectionError"
"""The connection was refused, or closed before TLS was agreed; or there is no route, or no such name."""
NOT_REACHED_IN_TIME: Final = "ConnectTimeoutError"
NOT_TRUSTED: Final = "SSLError"
"""The certificate is not valid, or TLS cannot be agreed."""
NOT_LET_THROUGH: Final = "ProxyConnectionError"
"""The proxy cannot be reached, or refuses."""
UNREACHABLE: Final = frozenset({NOT_REACHED, NOT_REACHED_IN_TIME, NOT_TRUSTED, NOT_LET_THROUGH})
"""Faults before anything was sent. After any other fault the service may have got the call."""

CLOSED: Final = "ConnectionClosedError"
"""Closed or reset before the answer was whole."""
NOT_ANSWERED_IN_TIME: Final = "ReadTimeoutError"
BAD_ANSWER: Final = "BadAnswer"
"""The answer is not HTTP, or larger than any answer of the service."""
NO_ANSWER: Final = UNREACHABLE | {CLOSED, NOT_ANSWERED_IN_TIME, BAD_ANSWER}
"""All faults without an answer: if no call was ever answered, the endpoint may be wrong."""

NOT_THE_SERVICE: Final = "NotTheService"
"""Another server answers, e.g. a web server at a wrong port."""


class NoResponseError(Exception):
    """A call that ended without an answer.

    Attributes:
        code: a name of this module.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SourceSilentError(Exception):
    """The source of the credentials gave none when asked again: it is down, or throttles."""


class ResponseMeaning(Enum):
    """What to do after an answer."""

    DELIVERED = "the events are acknowledged"
    THROTTLED = "the quota is used up: back off and call again"
    FAULT = "the service or the network failed: back off and call again"
    REFUSED = "the request is not valid: a single event goes to dead_letters, several are split"
    EXPIRED = "the credentials are too old: find new ones and call again"
    UNREACHABLE = "nobody answers: call again, unless nobody ever answered"
    STOP = "no request can succeed until somebody corrects the configuration"


_BY_CODE: Final = {
    "ThrottlingException": ResponseMeaning.THROTTLED,
    "Throttling": ResponseMeaning.THROTTLED,
    "ThrottledException": ResponseMeaning.THROTTLED,
    "TooManyRequestsException": ResponseMeaning.THROTTLED,
    "RequestLimitExceeded": ResponseMeaning.THROTTLED,
    "LimitExceededException": ResponseMeaning.THROTTLED,
    "RequestThrottled": ResponseMeaning.THROTTLED,
    "RequestThrottledException": ResponseMeaning.THROTTLED,
    "ProvisionedThroughputExceededException": ResponseMeaning.THROTTLED,
    "BandwidthLimitExceeded": ResponseMeaning.THROTTLED,
    "SlowDown": ResponseMeaning.THROTTLED,
    "RequestAbortedException": ResponseMeaning.FAULT,
    "RequestTimeout": ResponseMeaning.FAULT,
    "RequestTimeoutException": ResponseMeaning.FAULT,
    "ExpiredToken": ResponseMeaning.EXPIRED,
    "ExpiredTokenException": ResponseMeaning.EXPIRED,
    "AccessDeniedException": ResponseMeaning.STOP,
    "AccessDenied": ResponseMeaning.STOP,
    "IncompleteSignature": ResponseMeaning.STOP,
    "IncompleteSignatureException": ResponseMeaning.STOP,
    "InvalidClientTokenId": ResponseMeaning.STOP,
    "InvalidSignatureException": ResponseMeaning.STOP,
    "MissingAuthenticationToken": ResponseMeaning.STOP,
    "MissingAuthenticationTokenException": ResponseMeaning.STOP,
    "NotAuthorized": ResponseMeaning.STOP,
    NOT_THE_SERVICE: ResponseMeaning.STOP,
    "OptInRequired": ResponseMeaning.STOP,
    "RequestExpired": ResponseMeaning.STOP,
    "ResourceNotFoundException": ResponseMeaning.STOP,
    "SignatureDoesNotMatch": ResponseMeaning.STOP,
    "UnrecognizedClientException": ResponseMeaning.STOP,
    "ProxySettingError": ResponseMeaning.STOP,
    **dict.fromkeys(UNREACHABLE, ResponseMeaning.UNREACHABLE),
}
_NEVER: Final = frozenset({501, 505})
"""A server with these answers knows neither the method nor the protocol, so it is not the service."""
_MAY_PASS: Final = (
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    TokenRetrievalError,
    botocore.exceptions.ConnectionError,
)
"""boto3's own temporary errors, e.g. a metadata service that does not answer."""
_SET_UP: Final = frozenset(
    name
    for name, error in vars(botocore.exceptions).items()
    if isinstance(error, type) and issubclass(error, BotoCoreError) and not issubclass(error, _MAY_PASS)
)
"""The names of all its other errors: before anything is sent, they are about the configuration."""


def interpret_response(answer: Response) -> ResponseMeaning:
    """Read an answer: its code first, then its status.

    Examples:
        >>> interpret_response(Response(200)).name, interpret_response(Response(None, "ReadTimeoutError")).name
        ('DELIVERED', 'FAULT')
        >>> interpret_response(Response(400, "ThrottlingException")).name
        'THROTTLED'
        >>> interpret_response(Response(400, "InvalidInputException")).name
        'REFUSED'
    """
    if answer.errorCode is None:
        return ResponseMeaning.DELIVERED
    has_code = not answer.errorCode.isdigit()  # boto3 uses the status as the code if the answer has none
    if answer.httpStatus is None and answer.errorCode in _SET_UP:
        return ResponseMeaning.STOP
    return _BY_CODE.get(answer.errorCode) or _by_status(answer.httpStatus, has_code)


def _by_status(status: int | None, has_code: bool) -> ResponseMeaning:
    if status in _NEVER:
        return ResponseMeaning.STOP
    if status is None or status == 408 or status >= 500:
        return ResponseMeaning.FAULT
    if status == 429:
        return ResponseMeaning.THROTTLED
    # Only these can be about the content of a request. A redirect, a proxy's 407 or a 400 without a code cannot.
    return ResponseMeaning.REFUSED if status == 413 or (status == 400 and has_code) else ResponseMeaning.STOP
