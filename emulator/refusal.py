"""The errors that the service answers with, and the HTTP status of each."""

from typing import Final

# PutEvents itself models InvalidInputException only. ResourceNotFoundException is modelled for its sister
# operations; the others are AWS's common errors, which any operation may answer with.
_STATUS: Final = {
    "InvalidInputException": 400,
    "SerializationException": 400,
    "ThrottlingException": 400,
    "IncompleteSignatureException": 400,
    "BadRequestException": 400,
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnrecognizedClientException": 403,
    "InvalidSignatureException": 403,
    "ResourceNotFoundException": 404,
    "UnknownOperationException": 404,
    "RequestTimeoutException": 408,
    "RequestEntityTooLargeException": 413,
    "RequestHeaderSectionTooLargeException": 431,
    "InternalFailure": 500,
    "InternalServerException": 500,
    "ServiceUnavailable": 503,
}


class Refusal(Exception):  # noqa: N818 - an answer of the service, not an error of the emulator
    """A request that is answered with an error.

    Attributes:
        code: the error code as boto3 reports it, one of the common or modelled codes of the service.
        message: what the client is told; it never quotes a value of the request.
    """

    def __init__(self, code: str, message: str) -> None:
        """Refuse with `code`, which must be a code that has a status here, and `message`."""
        super().__init__(code, message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return _STATUS[self.code]
