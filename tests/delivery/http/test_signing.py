"""Signatures against botocore's signer, the examples that AWS publishes, and the emulator's judgement."""

import calendar
import time
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from delivery.http.credentials import SigningKeys
from delivery.http.endpoint import Endpoint
from delivery.http.proxy import Proxy
from delivery.http.signing import Signer

URL = "https://personalize-events.eu-west-1.amazonaws.com/events"


def endpoint(url: str = URL, **changes: Any) -> Endpoint:
    given = {"region": "eu-west-1", "signingName": "personalize", "userAgent": "Boto3/1.0 (a; b)"}
    return Endpoint(url, **{**given, "contentType": "application/json", **changes})


def headers(message: bytes) -> dict[str, str]:
    head, _, _ = message.partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
    told = {name.lower(): value for name, _, value in lines}
    assert len(told) == len(lines)
    return told


def by_botocore(url: str, body: bytes, keys: SigningKeys, now: float) -> str:
    """Return the Authorization that botocore makes, by the steps of its `add_auth`, at a time of ours."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    signer = SigV4Auth(
        Credentials(keys.accessKeyId, keys.secretAccessKey, keys.sessionToken), "personalize", "eu-west-1"
    )
    request = AWSRequest("POST", url, {"Content-Type": "application/json", "X-Amz-Date": moment}, body)
    if keys.sessionToken:
        request.headers["x-amz-security-token"] = keys.sessionToken
    request.context["timestamp"] = moment
    text = signer.string_to_sign(request, signer.canonical_request(request))
    names = signer.signed_headers(signer.headers_to_sign(request))
    scope = signer.scope(request)
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signer.signature(text, request)}"


VISIBLE = st.characters(min_codepoint=33, max_codepoint=126)
KEYS = st.builds(
    SigningKeys,
    st.text(VISIBLE, min_size=1, max_size=30),
    st.text(max_size=40),
    st.none() | st.text(VISIBLE, min_size=1, max_size=2000),
)
PARTS = st.text("aZ09-._~%/", max_size=12)
URLS = st.builds(
    lambda scheme, host, port, path, query: f"{scheme}://{host}{port}/{path}events{query}",
    st.sampled_from(["http", "https"]),
    st.sampled_from(
        ["localhost", "VPCE-1.Example.com", "10.0.0.1", "[::1]", "personalize-events.eu-west-1.amazonaws.com"]
    ),
    st.sampled_from(["", ":80", ":443", ":8080"]),
    PARTS,
    st.sampled_from(["", "?b=2&a=1", "?a=2&a=1&a-b", "?a=%20"]),
)
TIMES = st.floats(0, 4_102_444_799)  # to the end of 2099


@given(URLS, st.binary(max_size=5_000), KEYS, TIMES)
def test_the_signature_is_botocores(url: str, body: bytes, keys: SigningKeys, now: float) -> None:
    message = Signer(endpoint(url), lambda: now).sign(body, keys)
    assert headers(message)["authorization"] == by_botocore(url, body, keys, now)


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0, 1]), st.binary(max_size=9)), min_size=2))
def test_one_signer_signs_rightly_over_midnight_and_with_new_keys(calls: list[tuple[int, int, bytes]]) -> None:
    midnight = calendar.timegm((2024, 2, 29, 0, 0, 0))
    keys = [SigningKeys("AKIDONE", "one"), SigningKeys("AKIDTWO", "two", "token")]
    clock = iter([midnight + second + 0.5 for second, _, _ in calls])
    signer = Signer(endpoint(), lambda: next(clock))
    for second, which, body in calls:
        signed = headers(signer.sign(body, keys[which]))
        assert signed["authorization"] == by_botocore(URL, body, keys[which], midnight + second + 0.5)
        assert signed.get("x-amz-security-token") == keys[which].sessionToken


@pytest.mark.parametrize(
    ("content_type", "signature"),
    [
        ("application/x-www-form-urlencoded", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
        (
            "application/x-www-form-urlencoded; charset=utf8",
            "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
        ),
    ],
)
def test_the_signature_is_that_of_the_suite_that_aws_publishes(content_type: str, signature: str) -> None:
    # aws-sig-v4-test-suite, post-x-www-form-urlencoded and -parameters.
    example = endpoint(
        "https://example.amazonaws.com/", region="us-east-1", signingName="service", contentType=content_type
    )
    now = calendar.timegm((2015, 8, 30, 12, 36, 0))
    keys = SigningKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    signed = headers(Signer(example, lambda: now).sign(b"Param1=value1", keys))
    assert signed["x-amz-date"] == "20150830T123600Z"
    assert signed["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=content-type;host;x-amz-date, Signature={signature}"
    )


# The request around it.


def test_a_request_is_whole() -> None:
    message = Signer(endpoint("https://vpce.example:8443/v1/events?a=1"), lambda: 0).sign(
        b'{"a":"\xc3\xa9"}', SigningKeys("K", "s")
    )
    head, _, body = message.partition(b"\r\n\r\n")
    assert body == b'{"a":"\xc3\xa9"}'
    assert head.startswith(b"POST /v1/events?a=1 HTTP/1.1\r\n")
    told = headers(message)
    assert told.pop("authorization").startswith("AWS4-HMAC-SHA256 ")
    assert told == {
        "host": "vpce.example:8443",
        "content-type": "application/json",
        "user-agent": "Boto3/1.0 (a; b)",
        "x-amz-date": "19700101T000000Z",
        "content-length": "10",
    }


def test_a_proxy_is_asked_for_an_http_url_but_not_for_an_https_one() -> None:
    proxy, keys = Proxy("proxy", 3128, authorization="Basic bWU6c2VjcmV0"), SigningKeys("K", "s")
    asked = Signer(endpoint("http://vpce.example/events?a=1", proxy=proxy), lambda: 0).sign(b"{}", keys)
    assert asked.startswith(b"POST http://vpce.example/events?a=1 HTTP/1.1\r\n")
    assert headers(asked)["proxy-authorization"] == "Basic bWU6c2VjcmV0"
    assert headers(asked)["host"] == "vpce.example"
    assert headers(asked)["authorization"] == by_botocore("http://vpce.example/events?a=1", b"{}", keys, 0)
    tunnelled = Signer(endpoint(proxy=proxy), lambda: 0).sign(b"{}", keys)
    assert tunnelled.startswith(b"POST /events HTTP/1.1\r\n")
    assert "proxy-authorization" not in headers(tunnelled)
