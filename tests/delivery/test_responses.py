"""What each answer means. A wrong line here sends valid events to dead_letters, or calls a hopeless set-up for ever."""

import pytest
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from hypothesis import given
from hypothesis import strategies as st

from delivery.model import Response
from delivery.responses import ResponseMeaning, interpret_response


def test_success() -> None:
    assert interpret_response(Response(200, awsRequestId="a")) is ResponseMeaning.DELIVERED


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        # The service's own.
        (400, "InvalidInputException", ResponseMeaning.REFUSED),
        (400, "ThrottlingException", ResponseMeaning.THROTTLED),
        (404, "ResourceNotFoundException", ResponseMeaning.STOP),
        # AWS's common errors, with the status that its documentation gives them.
        (400, "AccessDeniedException", ResponseMeaning.STOP),
        (403, "ExpiredTokenException", ResponseMeaning.EXPIRED),
        (400, "IncompleteSignature", ResponseMeaning.STOP),
        (400, "IncompleteSignatureException", ResponseMeaning.STOP),
        (500, "InternalFailure", ResponseMeaning.FAULT),
        (400, "NotAuthorized", ResponseMeaning.STOP),
        (403, "OptInRequired", ResponseMeaning.STOP),
        (400, "RequestAbortedException", ResponseMeaning.FAULT),
        (413, "RequestEntityTooLargeException", ResponseMeaning.REFUSED),
        (400, "RequestExpired", ResponseMeaning.STOP),
        (408, "RequestTimeoutException", ResponseMeaning.FAULT),
        (503, "ServiceUnavailable", ResponseMeaning.FAULT),
        (403, "UnrecognizedClientException", ResponseMeaning.STOP),
        (404, "UnknownOperationException", ResponseMeaning.STOP),
        (400, "ValidationError", ResponseMeaning.REFUSED),
        (400, "SerializationException", ResponseMeaning.REFUSED),
        # Credentials, at a status that would read otherwise.
        (400, "AccessDenied", ResponseMeaning.STOP),
        (400, "ExpiredToken", ResponseMeaning.EXPIRED),
        (400, "InvalidClientTokenId", ResponseMeaning.STOP),
        (400, "InvalidSignatureException", ResponseMeaning.STOP),
        (400, "MissingAuthenticationToken", ResponseMeaning.STOP),
        (400, "MissingAuthenticationTokenException", ResponseMeaning.STOP),
        (400, "SignatureDoesNotMatch", ResponseMeaning.STOP),
        (400, "UnrecognizedClientException", ResponseMeaning.STOP),
        # A code outranks a status: 5xx that say throttling, 400 that say time-out.
        (503, "SlowDown", ResponseMeaning.THROTTLED),
        (503, "RequestLimitExceeded", ResponseMeaning.THROTTLED),
        (400, "RequestTimeout", ResponseMeaning.FAULT),
        # Found on this side of the wire.
        (400, "ParamValidationError", ResponseMeaning.REFUSED),
        (None, "NoCredentialsError", ResponseMeaning.STOP),
        (None, "PartialCredentialsError", ResponseMeaning.STOP),
        (None, "NoRegionError", ResponseMeaning.STOP),
        (None, "InvalidConfigError", ResponseMeaning.STOP),
        (None, "InvalidRegionError", ResponseMeaning.STOP),
        (None, "ConfigParseError", ResponseMeaning.STOP),
        (None, "ConfigNotFound", ResponseMeaning.STOP),
        (None, "ProfileNotFound", ResponseMeaning.STOP),
        (None, "SSOTokenLoadError", ResponseMeaning.STOP),
        (None, "UnauthorizedSSOTokenError", ResponseMeaning.STOP),
        (None, "CredentialRetrievalError", ResponseMeaning.FAULT),
        (None, "EndpointConnectionError", ResponseMeaning.UNREACHABLE),
        (None, "ConnectTimeoutError", ResponseMeaning.UNREACHABLE),
        (None, "ProxyConnectionError", ResponseMeaning.UNREACHABLE),
        (None, "SSLError", ResponseMeaning.UNREACHABLE),
        (None, "ReadTimeoutError", ResponseMeaning.FAULT),
        (None, "ConnectionClosedError", ResponseMeaning.FAULT),
        (None, "BadAnswer", ResponseMeaning.FAULT),
        (200, "NotTheService", ResponseMeaning.STOP),
        (None, "InvalidDefaultsMode", ResponseMeaning.STOP),
        (None, "InvalidSTSRegionalEndpointsConfigError", ResponseMeaning.STOP),
        (None, "MetadataRetrievalError", ResponseMeaning.FAULT),
        (503, "InvalidDefaultsMode", ResponseMeaning.FAULT),
    ],
)
def test_a_known_code(status: int | None, code: str, expected: ResponseMeaning) -> None:
    assert interpret_response(Response(status, code)) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, ResponseMeaning.FAULT),
        (301, ResponseMeaning.STOP),
        (307, ResponseMeaning.STOP),
        (400, ResponseMeaning.REFUSED),
        (401, ResponseMeaning.STOP),
        (403, ResponseMeaning.STOP),
        (404, ResponseMeaning.STOP),
        (405, ResponseMeaning.STOP),
        (407, ResponseMeaning.STOP),
        (408, ResponseMeaning.FAULT),
        (413, ResponseMeaning.REFUSED),
        (418, ResponseMeaning.STOP),
        (429, ResponseMeaning.THROTTLED),
        (499, ResponseMeaning.STOP),
        (500, ResponseMeaning.FAULT),
        (502, ResponseMeaning.FAULT),
        (501, ResponseMeaning.STOP),
        (505, ResponseMeaning.STOP),
        (503, ResponseMeaning.FAULT),
        (504, ResponseMeaning.FAULT),
        (599, ResponseMeaning.FAULT),
    ],
)
@pytest.mark.parametrize("code", ["SomethingNew", "", "Unknown"])
def test_an_unknown_code_is_read_by_its_status(status: int | None, code: str, expected: ResponseMeaning) -> None:
    assert interpret_response(Response(status, code)) is expected


# Of botocore's list, two are about transactions and another service: any reading of them that calls again will do.
@pytest.mark.parametrize(
    "code",
    sorted(
        {*ThrottledRetryableChecker._THROTTLED_ERROR_CODES}  # type: ignore[attr-defined]
        - {"TransactionInProgressException", "PriorRequestNotComplete", "EC2ThrottledException"}
    ),
)
def test_what_botocore_takes_for_throttling_is_throttling(code: str) -> None:
    assert interpret_response(Response(400, code)) is ResponseMeaning.THROTTLED


@pytest.mark.parametrize("status", TransientRetryableChecker._TRANSIENT_STATUS_CODES)  # type: ignore[attr-defined]
def test_what_botocore_takes_for_transient_is_a_fault(status: int) -> None:
    assert interpret_response(Response(status, str(status))) is ResponseMeaning.FAULT


@given(status=st.none() | st.integers(100, 599), code=st.text(max_size=40))
def test_no_answer_with_a_code_counts_as_delivered(status: int | None, code: str) -> None:
    assert interpret_response(Response(status, code)) is not ResponseMeaning.DELIVERED
