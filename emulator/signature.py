"""AWS Signature Version 4: did the named caller sign the request, now, for this service?

The canonical request is that of https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
for a path that needs no encoding (the only operation's is `/events`).
"""

import calendar
import hashlib
import hmac
import re
import time
from functools import lru_cache
from typing import NamedTuple

from emulator.messages import HttpRequest, Refusal
from emulator.settings import EmulatorSettings

_ALGORITHM = b"AWS4-HMAC-SHA256"
_SERVICE = b"personalize"
_CLAIM = frozenset({b"Credential", b"SignedHeaders", b"Signature"})
_TIMESTAMP = re.compile(rb"[0-9]{8}T[0-9]{6}Z")
_REGION = re.compile(rb"[a-z0-9-]+")
# AWS accepts signatures from 15 minutes before to 15 minutes after its own clock.
_TOLERANCE_SECONDS = 15 * 60


class Tokens:
    """The accepted session tokens: a certain one, none, or any one for its lifetime."""

    def __init__(self, token: str | None, lifetime: float | None) -> None:
        """Accept `token` (None: calls must not have one), or with a `lifetime` any token, for so many seconds."""
        self._token = token.encode() if token else None
        self._lifetime = lifetime
        self._first_used: dict[bytes, float] = {}

    def knows(self, token: bytes | None) -> bool:
        """Whether a call may have `token`, or None for no token; the token may still have expired."""
        return token == self._token if self._lifetime is None else bool(token)

    def use(self, token: bytes | None, now: float) -> None:
        """Accept a known token at `now` (Unix time in seconds); its lifetime starts with its first use.

        Raises:
            Refusal: ExpiredTokenException if its lifetime is over.
        """
        if self._lifetime is None or token is None:
            return
        if now - self._first_used.setdefault(token, now) >= self._lifetime:
            raise Refusal("ExpiredTokenException", "The security token included in the request is expired")


class Verifier:
    """Verifies signatures with one set of credentials. Signing keys are derived once for each date and region."""

    def __init__(self, settings: EmulatorSettings) -> None:
        """Take the credentials from `settings`."""
        self._access_key = settings.access_key.encode()
        self._tokens = Tokens(settings.session_token, settings.token_lifetime)
        secret = b"AWS4" + settings.secret_key.encode()
        self._signing_key = lru_cache(maxsize=64)(lambda date, region: _derive_key(secret, date, region))

    def verify(self, request: HttpRequest, now: float) -> None:
        """Return if the signature is valid at `now` (Unix time in seconds), with a token that has not expired.

        Raises:
            Refusal: MissingAuthenticationTokenException, IncompleteSignatureException,
                UnrecognizedClientException, InvalidSignatureException or ExpiredTokenException.
        """
        claim = _parse_authorization(request.headers.get(b"authorization"))
        access_key, date, region = _parse_credential(claim.credential)
        token = request.headers.get(b"x-amz-security-token")
        if access_key != self._access_key or not self._tokens.knows(token):
            message = "The security token included in the request is invalid."
            raise Refusal("UnrecognizedClientException", message)
        timestamp = request.headers.get(b"x-amz-date", b"")
        _check_date(timestamp, date, now)
        scope = b"/".join((date, region, _SERVICE, b"aws4_request"))
        digest = hashlib.sha256(_canonical_request(request, claim.signed_headers)).hexdigest().encode()
        text = b"\n".join((_ALGORITHM, timestamp, scope, digest))
        expected = hmac.digest(self._signing_key(date, region), text, "sha256").hex().encode()
        if not hmac.compare_digest(expected, claim.signature):
            raise _invalid("The request signature we calculated does not match the signature you provided.")
        # Last, so that only the owner of the secret can start the lifetime of a token.
        self._tokens.use(token, now)


class _Claim(NamedTuple):
    credential: bytes
    signed_headers: bytes
    signature: bytes


def _parse_authorization(value: bytes | None) -> _Claim:
    if not value:
        raise Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
    algorithm, _, rest = value.partition(b" ")
    pairs = [part.strip().partition(b"=")[::2] for part in rest.split(b",")]
    parts = dict(pairs)
    if len(pairs) != len(_CLAIM) or parts.keys() != _CLAIM:
        raise _incomplete("Authorization header requires Credential, SignedHeaders and Signature, each once.")
    if algorithm != _ALGORITHM:
        raise _incomplete("Unsupported AWS 'algorithm' in Authorization header.")
    return _Claim(parts[b"Credential"], parts[b"SignedHeaders"], parts[b"Signature"])


@lru_cache(maxsize=64)
def _parse_credential(credential: bytes) -> tuple[bytes, bytes, bytes]:
    """Return access key id, date and region; any region will do."""
    match credential.split(b"/"):
        case [access_key, date, region, service, b"aws4_request"]:
            if service != _SERVICE:
                raise _invalid("Credential should be scoped to correct service: 'personalize'.")
            if not _REGION.fullmatch(region):
                raise _invalid("Credential should be scoped to a valid region.")
            return access_key, date, region
        case _:
            raise _incomplete("Credential must have 5 slash-delimited elements, the last 'aws4_request'.")


def _check_date(timestamp: bytes, date: bytes, now: float) -> None:
    try:
        signed_at = _parse_timestamp(timestamp)
    except ValueError:
        raise _incomplete("Authorization header requires existence of a valid 'X-Amz-Date' header.") from None
    if not timestamp.startswith(date) or len(date) != len("YYYYMMDD"):
        raise _invalid("Date in Credential scope does not match YYYYMMDD from the date of the request.")
    if signed_at < now - _TOLERANCE_SECONDS:
        raise _invalid("Signature expired: it is more than 15 minutes old.")
    if signed_at > now + _TOLERANCE_SECONDS:
        raise _invalid("Signature not yet current: it is more than 15 minutes ahead.")


@lru_cache(maxsize=64)
def _parse_timestamp(timestamp: bytes) -> int:
    if not _TIMESTAMP.fullmatch(timestamp):  # strptime also accepts fewer digits.
        raise ValueError("not a timestamp")
    return calendar.timegm(time.strptime(timestamp.decode(), "%Y%m%dT%H%M%SZ"))


@lru_cache(maxsize=64)
def _split_names(signed_headers: bytes) -> tuple[bytes, ...]:
    names = tuple(signed_headers.split(b";"))
    if b"host" not in names:
        raise _invalid("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if list(names) != sorted(set(names)) or signed_headers != signed_headers.lower():
        raise _invalid("The 'SignedHeaders' must be in lower case, in the order of their names, each once.")
    return names


def _canonical_request(request: HttpRequest, signed_headers: bytes) -> bytes:
    names = _split_names(signed_headers)
    for name in request.headers:
        if name not in names and name.startswith(b"x-amz-"):
            raise _invalid(f"'{name.decode('latin-1')}' must be a 'SignedHeader' in the AWS Authorization.")
    try:
        headers = [name + b":" + b" ".join(request.headers[name].split()) for name in names]
    except KeyError:
        raise _invalid("A 'SignedHeader' of the AWS Authorization is not in the request.") from None
    # The hash is that of the received body: only S3 uses the hash of the header, or an unsigned body.
    payload_hash = hashlib.sha256(request.body).hexdigest().encode()
    query = _canonical_query(request.query)
    return b"\n".join((request.method, request.path, query, *headers, b"", signed_headers, payload_hash))


def _canonical_query(query: bytes) -> bytes:
    # By name and then by value: a name may continue with a character that sorts before the equals sign.
    pairs = sorted(pair.partition(b"=")[::2] for pair in query.split(b"&") if pair)
    return b"&".join(name + b"=" + value for name, value in pairs)


def _derive_key(secret: bytes, date: bytes, region: bytes) -> bytes:
    key = secret
    for part in (date, region, _SERVICE, b"aws4_request"):
        key = hmac.digest(key, part, "sha256")
    return key


def _incomplete(message: str) -> Refusal:
    return Refusal("IncompleteSignatureException", message)


def _invalid(message: str) -> Refusal:
    return Refusal("InvalidSignatureException", message)
