"""Signatures: by boto3, and by botocore's signer where boto3 would not do it so."""

import hmac
import re
import time
from hashlib import sha256
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import emulator
from emulator import EmulatorClock, EmulatorSettings

BODY = b'{"trackingId": "t", "sessionId": "s", "eventList": [{"eventType": "v", "sentAt": 1}]}'


def code_of(client: Any, call: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        client.put_events(**call)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def sign(server: emulator.Server, headers: dict[str, str] | None = None, **signer: Any) -> dict[str, str]:
    """Return the headers of a call signed by botocore."""
    path, service = signer.get("path", "/events"), signer.get("service", "personalize")
    given = {"Host": urlsplit(server.endpoint_url).netloc} | (headers or {})
    request = AWSRequest("POST", server.endpoint_url + path, given, BODY)
    SigV4Auth(Credentials("AKIDEMULATOR", "emulator-secret"), service, "us-west-2").add_auth(request)
    return dict(request.headers.items())


def post(
    server: emulator.Server, headers: dict[str, str], body: bytes = BODY, path: str = "/events"
) -> tuple[int, str]:
    connection = HTTPConnection(urlsplit(server.endpoint_url).netloc, timeout=5)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("x-amzn-ErrorType", "")
    finally:
        connection.close()


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1", "ap-northeast-2"])
def test_any_region_will_do(server: emulator.Server, connect: Any, call: Any, region: str) -> None:
    connect(server, region_name=region).put_events(**call())


def test_a_wrong_secret(server: emulator.Server, connect: Any, call: Any) -> None:
    client = connect(server, aws_secret_access_key="wrong")
    assert code_of(client, call()) == (403, "InvalidSignatureException")


def test_an_unknown_key(server: emulator.Server, connect: Any, call: Any) -> None:
    client = connect(server, aws_access_key_id="AKIDSTRANGER")
    assert code_of(client, call()) == (403, "UnrecognizedClientException")
    assert server.summary()["refused"] == {"UnrecognizedClientException": 1}


def test_own_credentials_and_session_token(connect: Any, call: Any) -> None:
    settings = EmulatorSettings(access_key="AKIDOWN", secret_key="own", session_token="token")
    own = {"aws_access_key_id": "AKIDOWN", "aws_secret_access_key": "own"}
    with emulator.running(settings) as server:
        connect(server, **own, aws_session_token="token").put_events(**call())
        for wrong in ({}, {"aws_session_token": "other"}):
            assert code_of(connect(server, **own, **wrong), call()) == (403, "UnrecognizedClientException")


@pytest.mark.parametrize(("minutes", "accepted"), [(-15.1, False), (-14.9, True), (14.9, True), (15.1, False)])
def test_the_date_may_be_15_minutes_off(connect: Any, call: Any, minutes: float, accepted: bool) -> None:
    with emulator.running(clock=EmulatorClock(wall=lambda: time.time() + minutes * 60)) as server:
        client = connect(server)
        if accepted:
            client.put_events(**call())
        else:
            assert code_of(client, call()) == (403, "InvalidSignatureException")


def test_a_call_signed_by_hand(server: emulator.Server) -> None:
    assert post(server, sign(server)) == (200, "")
    assert post(server, sign(server, {"Content-Type": "application/json", "X-Amz-Extra": "a  b "})) == (
        200,
        "",
    )


def test_no_signature(server: emulator.Server) -> None:
    assert post(server, {}) == (403, "MissingAuthenticationTokenException")


@pytest.mark.parametrize("value", ["Basic abc", "AWS4-HMAC-SHA256 Credential=a/b, Signature=c", "Bearer"])
def test_an_authorization_of_another_kind(server: emulator.Server, value: str) -> None:
    assert post(server, {"Authorization": value}) == (400, "IncompleteSignatureException")


def test_a_tampered_body(server: emulator.Server) -> None:
    tampered = BODY.replace(b'"v"', b'"w"')
    assert post(server, sign(server), tampered) == (403, "InvalidSignatureException")


def test_a_tampered_body_under_its_old_hash(server: emulator.Server) -> None:
    headers = sign(server, {"X-Amz-Content-SHA256": sha256(BODY).hexdigest()})
    assert post(server, headers) == (200, "")
    assert post(server, headers, BODY + b" ") == (403, "InvalidSignatureException")


@pytest.mark.parametrize("hashed", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "0" * 64])
def test_a_payload_that_is_not_signed(server: emulator.Server, hashed: str) -> None:
    """botocore signs what the header says; only S3 believes it."""
    assert post(server, sign(server, {"X-Amz-Content-SHA256": hashed})) == (403, "InvalidSignatureException")


def sign_headers(server: emulator.Server, sent: dict[str, str], names: str, **scope: str) -> dict[str, str]:
    """Return headers that hold a right signature of those of the given names, reckoned by SigV4's recipe."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {"Host": urlsplit(server.endpoint_url).netloc, "X-Amz-Date": moment, **sent}
    values = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    lines = "".join(f"{name}:{values.get(name.lower(), '')}\n" for name in names.split(";"))
    canonical = f"POST\n/events\n\n{lines}\n{names}\n{sha256(BODY).hexdigest()}"
    parts = [headers["X-Amz-Date"][:8], scope.get("region", "eu-west-1"), "personalize", "aws4_request"]
    text = "\n".join(
        ["AWS4-HMAC-SHA256", headers["X-Amz-Date"], "/".join(parts), sha256(canonical.encode()).hexdigest()]
    )
    key = b"AWS4emulator-secret"
    for part in parts:
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    claim = f"Credential=AKIDEMULATOR/{'/'.join(parts)}, SignedHeaders={names}, Signature={signature}"
    return headers | {"Authorization": f"AWS4-HMAC-SHA256 {claim}"}


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        ({}, "host;x-amz-date"),
        ({"Content-Type": "text/plain", "X-Amzn-Trace-Id": "1"}, "host;x-amz-date"),
        ({"X-Amz-Meta": " a \t b "}, "host;x-amz-date;x-amz-meta"),
    ],
)
def test_host_and_all_amz_headers_must_be_signed_and_no_others(
    server: emulator.Server, sent: dict[str, str], names: str
) -> None:
    assert post(server, sign_headers(server, sent, names)) == (200, "")


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        ({}, "host"),
        ({}, "x-amz-date"),
        ({}, ""),
        ({"X-Amz-Meta": "1"}, "host;x-amz-date"),
        ({"X-Amz-Content-Sha256": sha256(BODY).hexdigest()}, "host;x-amz-date"),
        ({}, "x-amz-date;host"),
        ({}, "host;host;x-amz-date"),
        ({}, "Host;X-Amz-Date"),
        ({}, "host;x-amz-date;x-missing"),
    ],
)
def test_headers_signed_otherwise_are_refused_though_the_sum_is_right(
    server: emulator.Server, sent: dict[str, str], names: str
) -> None:
    assert post(server, sign_headers(server, sent, names)) == (403, "InvalidSignatureException")


def test_a_session_token_must_be_signed() -> None:
    for settings in (EmulatorSettings(session_token="token"), EmulatorSettings(token_lifetime=60)):
        with emulator.running(settings) as server:
            token = {"X-Amz-Security-Token": "token"}
            unsigned = sign_headers(server, token, "host;x-amz-date")
            assert post(server, unsigned) == (403, "InvalidSignatureException")
            signed = sign_headers(server, token, "host;x-amz-date;x-amz-security-token")
            assert post(server, signed) == (200, "")


@pytest.mark.parametrize(
    "moment", ["2024111T101010Z", "20240101T101010", "20240101", "\uff12\uff10\uff12\uff140101T101010Z"]
)
def test_a_date_in_another_form(server: emulator.Server, moment: str) -> None:
    headers = sign_headers(server, {}, "host;x-amz-date") | {"X-Amz-Date": moment.encode().decode("latin-1")}
    assert post(server, headers) == (400, "IncompleteSignatureException")


@pytest.mark.parametrize("region", ["", "EU WEST", "eu_west"])
def test_a_region_that_is_none(server: emulator.Server, region: str) -> None:
    headers = sign_headers(server, {}, "host;x-amz-date", region=region)
    assert post(server, headers) == (403, "InvalidSignatureException")


def test_an_authorization_that_says_a_thing_twice(server: emulator.Server) -> None:
    headers = sign(server)
    headers["Authorization"] += f", Signature={'0' * 64}"
    assert post(server, headers) == (400, "IncompleteSignatureException")


@pytest.mark.parametrize("header", ["Host", "X-Amz-Date", "X-Amz-Extra"])
def test_a_tampered_header(server: emulator.Server, header: str) -> None:
    headers = sign(server, {"X-Amz-Extra": "1"})
    last_digit = re.compile(r"\d(?=\D?$)")
    headers[header] = last_digit.sub(lambda digit: str(9 - int(digit[0])), headers[header])
    assert post(server, headers) == (403, "InvalidSignatureException")


def test_the_query_is_signed_too(server: emulator.Server) -> None:
    path = "/events?b=2&a=%20x&c&a-b=1&a=%20w"
    assert post(server, sign(server, path=path), path=path) == (200, "")
    assert post(server, sign(server, path=path), path="/events?b=3&a=%20x&c") == (
        403,
        "InvalidSignatureException",
    )


def test_a_signature_for_another_service(server: emulator.Server) -> None:
    assert post(server, sign(server, service="s3")) == (403, "InvalidSignatureException")


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("/aws4_request", "/aws5_request", (400, "IncompleteSignatureException")),
        ("Credential=AKIDEMULATOR/2", "Credential=AKIDEMULATOR/1", (403, "InvalidSignatureException")),
        ("SignedHeaders=host;", "SignedHeaders=", (403, "InvalidSignatureException")),
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512", (400, "IncompleteSignatureException")),
    ],
)
def test_a_tampered_authorization(server: emulator.Server, old: str, new: str, answer: tuple[int, str]) -> None:
    headers = sign(server)
    assert old in headers["Authorization"]
    headers["Authorization"] = headers["Authorization"].replace(old, new)
    assert post(server, headers) == answer


def test_a_date_that_is_none(server: emulator.Server) -> None:
    headers = sign(server) | {"X-Amz-Date": "yesterday"}
    assert post(server, headers) == (400, "IncompleteSignatureException")


def test_credentials_are_in_no_repr() -> None:
    settings = EmulatorSettings(access_key="AKIDOWN", secret_key="own-secret", session_token="own-token")
    assert "own" not in repr(settings).lower()
