"""Signature Version 4 for calls that differ only in their body.

Everything that does not depend on the body is computed once a second, because the time in it has seconds. See
https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from botocore.utils import normalize_url_path

from delivery.http.credentials import SigningKeys
from delivery.http.endpoint import Endpoint

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_PORTS: Final = {"http": 80, "https": 443}


class Signer:
    """Makes a signed HTTP request from a body.

    Args:
        endpoint: what is called.
        clock: Unix time in seconds.
    """

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float] = time.time) -> None:
        self._call = _call(endpoint)
        self._clock = clock
        self._second: _Second | None = None

    def sign(self, body: bytes, keys: SigningKeys) -> bytes:
        """Return the whole request with `body`, signed with `keys` now."""
        number = int(self._clock())
        second = self._second
        if second is None or second.number != number or second.keys is not keys:
            second = self._second = _second(self._call, number, keys)
        canonical = second.canonical + sha256(body).hexdigest().encode()
        text = second.text + sha256(canonical).hexdigest().encode()
        signature = hmac.digest(second.key, text, "sha256").hex().encode()
        return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (second.head, signature, len(body), body)


@dataclass(frozen=True, slots=True)
class _Call:
    """What all calls have in common."""

    head: str
    """The request line and headers."""
    canonical: str
    """Method, path and query of the canonical request."""
    signed: dict[str, str]
    """The signed headers, without those that change each second."""
    region: str
    signingName: str


@dataclass(frozen=True, slots=True)
class _Second:
    """What the calls of one second have in common."""

    number: int
    """Unix time."""
    keys: SigningKeys
    head: bytes
    """The HTTP request, up to the signature."""
    canonical: bytes
    """The canonical request, up to the body's hash."""
    text: bytes
    """The text to sign, up to the hash of the canonical request."""
    key: bytes = field(repr=False)


def _call(endpoint: Endpoint) -> _Call:
    parts = urlsplit(endpoint.url)
    host = _host(parts)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"Host: {host}", f"Content-Type: {endpoint.contentType}", f"User-Agent: {endpoint.userAgent}"]
    if endpoint.proxy is not None and parts.scheme == "http":  # the proxy itself makes the call (RFC 9112, 3.2.2)
        target = f"http://{host}{target}"
        lines += [f"Proxy-Authorization: {endpoint.proxy.authorization}"] if endpoint.proxy.authorization else []
    return _Call(
        "\r\n".join([f"POST {target} HTTP/1.1", *lines, ""]),
        f"POST\n{quote(normalize_url_path(parts.path), safe='/~')}\n{_query(parts.query)}\n",
        {"content-type": " ".join(endpoint.contentType.split()), "host": host},
        endpoint.region,
        endpoint.signingName,
    )


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in {None, _PORTS[parts.scheme]} else f"{host}:{parts.port}"


def _query(query: str) -> str:
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&") if pair)
    return "&".join(f"{name}={value}" for name, value in pairs)


def _second(call: _Call, number: int, keys: SigningKeys) -> _Second:
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(number))
    own = {"x-amz-date": moment} | ({"x-amz-security-token": keys.sessionToken} if keys.sessionToken else {})
    signed = call.signed | own  # in the order of their names, as required
    names, scope = ";".join(signed), [moment[:8], call.region, call.signingName, "aws4_request"]
    lines = [f"{name}: {value}\r\n" for name, value in own.items()]
    claim = f"{_ALGORITHM} Credential={keys.accessKeyId}/{'/'.join(scope)}, SignedHeaders={names}, Signature="
    canonical = "".join(f"{name}:{value}\n" for name, value in signed.items())
    return _Second(
        number,
        keys,
        f"{call.head}{''.join(lines)}Authorization: {claim}".encode(),
        f"{call.canonical}{canonical}\n{names}\n".encode(),
        f"{_ALGORITHM}\n{moment}\n{'/'.join(scope)}\n".encode(),
        _derive(f"AWS4{keys.secretAccessKey}".encode(), scope),
    )


def _derive(key: bytes, scope: list[str]) -> bytes:
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return key
