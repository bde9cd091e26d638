"""What each answer means. A wrong line here sends valid events to dead_letters, or calls a hopeless set-up for ever."""

import pytest
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from hypothesis import given
from hypothesis import strategies as st

from delivery.model import Answer
from delivery.responses import Meaning, meaning


def test_success() -> None:
    assert meaning(Answer(200, awsRequestId="a")) is Meaning.DELIVERED


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        # The service's own.
        (400, "InvalidInputException", Meaning.REFUSED),
        (400, "ThrottlingException", Meaning.THROTTLED),
        (404, "ResourceNotFoundException", Meaning.STOP),
        # AWS's common errors, with the status that its documentation gives them.
        (400, "AccessDeniedException", Meaning.STOP),
        (403, "ExpiredTokenException", Meaning.EXPIRED),
        (400, "IncompleteSignature", Meaning.STOP),
        (400, "IncompleteSignatureException", Meaning.STOP),
        (500, "InternalFailure", Meaning.FAULT),
        (400, "NotAuthorized", Meaning.STOP),
        (403, "OptInRequired", Meaning.STOP),
        (400, "RequestAbortedException", Meaning.FAULT),
        (413, "RequestEntityTooLargeException", Meaning.REFUSED),
        (400, "RequestExpired", Meaning.STOP),
        (408, "RequestTimeoutException", Meaning.FAULT),
        (503, "ServiceUnavailable", Meaning.FAULT),
        (403, "UnrecognizedClientException", Meaning.STOP),
        (404, "UnknownOperationException", Meaning.STOP),
        (400, "ValidationError", Meaning.REFUSED),
        (400, "SerializationException", Meaning.REFUSED),
        # Credentials, at a status that would read otherwise.
        (400, "AccessDenied", Meaning.STOP),
        (400, "ExpiredToken", Meaning.EXPIRED),
        (400, "InvalidClientTokenId", Meaning.STOP),
        (400, "InvalidSignatureException", Meaning.STOP),
        (400, "MissingAuthenticationToken", Meaning.STOP),
        (400, "MissingAuthenticationTokenException", Meaning.STOP),
        (400, "SignatureDoesNotMatch", Meaning.STOP),
        (400, "UnrecognizedClientException", Meaning.STOP),
        # A code outranks a status: 5xx that say throttling, 400 that say time-out.
        (503, "SlowDown", Meaning.THROTTLED),
        (503, "RequestLimitExceeded", Meaning.THROTTLED),
        (400, "RequestTimeout", Meaning.FAULT),
        # Found on this side of the wire.
        (400, "ParamValidationError", Meaning.REFUSED),
        (None, "NoCredentialsError", Meaning.STOP),
        (None, "PartialCredentialsError", Meaning.STOP),
        (None, "NoRegionError", Meaning.STOP),
        (None, "InvalidConfigError", Meaning.STOP),
        (None, "InvalidRegionError", Meaning.STOP),
        (None, "ConfigParseError", Meaning.STOP),
        (None, "ConfigNotFound", Meaning.STOP),
        (None, "ProfileNotFound", Meaning.STOP),
        (None, "SSOTokenLoadError", Meaning.STOP),
        (None, "UnauthorizedSSOTokenError", Meaning.STOP),
        (None, "CredentialRetrievalError", Meaning.FAULT),
        (None, "EndpointConnectionError", Meaning.UNREACHABLE),
        (None, "ConnectTimeoutError", Meaning.UNREACHABLE),
        (None, "ProxyConnectionError", Meaning.UNREACHABLE),
        (None, "SSLError", Meaning.UNREACHABLE),
        (None, "ReadTimeoutError", Meaning.FAULT),
        (None, "ConnectionClosedError", Meaning.FAULT),
        (None, "BadAnswer", Meaning.FAULT),
        (200, "NotTheService", Meaning.STOP),
        (None, "InvalidDefaultsMode", Meaning.STOP),
        (None, "InvalidSTSRegionalEndpointsConfigError", Meaning.STOP),
        (None, "MetadataRetrievalError", Meaning.FAULT),
        (503, "InvalidDefaultsMode", Meaning.FAULT),
    ],
)
def test_a_known_code(status: int | None, code: str, expected: Meaning) -> None:
    assert meaning(Answer(status, code)) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, Meaning.FAULT),
        (301, Meaning.STOP),
        (307, Meaning.STOP),
        (400, Meaning.REFUSED),
        (401, Meaning.STOP),
        (403, Meaning.STOP),
        (404, Meaning.STOP),
        (405, Meaning.STOP),
        (407, Meaning.STOP),
        (408, Meaning.FAULT),
        (413, Meaning.REFUSED),
        (418, Meaning.STOP),
        (429, Meaning.THROTTLED),
        (499, Meaning.STOP),
        (500, Meaning.FAULT),
        (502, Meaning.FAULT),
        (501, Meaning.STOP),
        (505, Meaning.STOP),
        (503, Meaning.FAULT),
        (504, Meaning.FAULT),
        (599, Meaning.FAULT),
    ],
)
@pytest.mark.parametrize("code", ["SomethingNew", "", "Unknown"])
def test_an_unknown_code_is_read_by_its_status(status: int | None, code: str, expected: Meaning) -> None:
    assert meaning(Answer(status, code)) is expected


# Of botocore's list, two are about transactions and another service: any reading of them that calls again will do.
@pytest.mark.parametrize(
    "code",
    sorted(
        {*ThrottledRetryableChecker._THROTTLED_ERROR_CODES}  # type: ignore[attr-defined]
        - {"TransactionInProgressException", "PriorRequestNotComplete", "EC2ThrottledException"}
    ),
)
def test_what_botocore_takes_for_throttling_is_throttling(code: str) -> None:
    assert meaning(Answer(400, code)) is Meaning.THROTTLED


@pytest.mark.parametrize("status", TransientRetryableChecker._TRANSIENT_STATUS_CODES)  # type: ignore[attr-defined]
def test_what_botocore_takes_for_transient_is_a_fault(status: int) -> None:
    assert meaning(Answer(status, str(status))) is Meaning.FAULT


@given(status=st.none() | st.integers(100, 599), code=st.text(max_size=40))
def test_no_answer_with_a_code_counts_as_delivered(status: int | None, code: str) -> None:
    assert meaning(Answer(status, code)) is not Meaning.DELIVERED
