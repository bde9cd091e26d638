"""Why a call ended without an answer of the service. The names are boto3's where it has one."""

from __future__ import annotations

from typing import Final

NOT_REACHED: Final = "EndpointConnectionError"
"""Refused, no route, no such name, or closed before TLS was agreed."""
NOT_REACHED_IN_TIME: Final = "ConnectTimeoutError"
NOT_TRUSTED: Final = "SSLError"
"""The certificate is not valid, or TLS cannot be agreed."""
NOT_LET_THROUGH: Final = "ProxyConnectionError"
"""The proxy is not there, or refuses."""
UNREACHABLE: Final = frozenset({NOT_REACHED, NOT_REACHED_IN_TIME, NOT_TRUSTED, NOT_LET_THROUGH})
"""Nothing of the call was sent; of any other fault nobody knows whether the service had the call."""

CLOSED: Final = "ConnectionClosedError"
"""Closed or reset before the answer was whole."""
NOT_ANSWERED_IN_TIME: Final = "ReadTimeoutError"
BAD_ANSWER: Final = "BadAnswer"
"""What came is not HTTP, or larger than any answer of the service."""
NO_ANSWER: Final = UNREACHABLE | {CLOSED, NOT_ANSWERED_IN_TIME, BAD_ANSWER}
"""All of them: where no call ever had an answer, the endpoint may be wrong."""

NOT_THE_SERVICE: Final = "NotTheService"
"""Whoever answers is somebody else, e.g. a web server at an endpoint's wrong port."""


class NoAnswerError(Exception):
    """A call that ended without an answer.

    Attributes:
        code: one of this module's names.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SourceSilentError(Exception):
    """The source of the credentials in use gave none when it was asked again: it is down, or asked too often."""
