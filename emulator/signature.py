"""AWS Signature Version 4: is a request signed by whom it says, now, for this service?

The canonical request is that of https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
for a path that needs no encoding (the only operation's is `/events`).
"""

import calendar
import hashlib
import hmac
import time
from functools import lru_cache
from typing import NamedTuple

from emulator.messages import Request
from emulator.refusal import Refusal
from emulator.settings import Settings
from emulator.tokens import Tokens

_ALGORITHM = b"AWS4-HMAC-SHA256"
_SERVICE = b"personalize"
_UNSIGNED = b"UNSIGNED-PAYLOAD"
# AWS takes signatures from 15 minutes before to 15 minutes after its own clock.
_TOLERANCE_SECONDS = 15 * 60


class Verifier:
    """Verifies signatures against one set of credentials. Signing keys are derived once a date and region."""

    def __init__(self, settings: Settings) -> None:
        """Take the credentials from `settings`."""
        self._access_key = settings.access_key.encode()
        self._tokens = Tokens(settings.session_token, settings.token_lifetime)
        secret = b"AWS4" + settings.secret_key.encode()
        self._signing_key = lru_cache(maxsize=64)(lambda date, region: _derive_key(secret, date, region))

    def verify(self, request: Request, now: float) -> None:
        """Return if the request is signed well at `now` (Unix time in seconds), by a token that has not expired.

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
        # Last, so that only the owner of the secret can start a token's lifetime.
        self._tokens.use(token, now)


class _Claim(NamedTuple):
    credential: bytes
    signed_headers: bytes
    signature: bytes


def _parse_authorization(value: bytes | None) -> _Claim:
    if not value:
        raise Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
    algorithm, _, rest = value.partition(b" ")
    parts = dict(part.strip().partition(b"=")[::2] for part in rest.split(b","))
    try:
        claim = _Claim(parts[b"Credential"], parts[b"SignedHeaders"], parts[b"Signature"])
    except KeyError:
        raise _incomplete("Authorization header requires Credential, SignedHeaders and Signature.") from None
    if algorithm != _ALGORITHM:
        raise _incomplete("Unsupported AWS 'algorithm' in Authorization header.")
    return claim


def _parse_credential(credential: bytes) -> tuple[bytes, bytes, bytes]:
    """Return access key id, date and region; any region will do."""
    match credential.split(b"/"):
        case [access_key, date, region, service, b"aws4_request"]:
            if service != _SERVICE:
                raise _invalid("Credential should be scoped to correct service: 'personalize'.")
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
    return calendar.timegm(time.strptime(timestamp.decode(), "%Y%m%dT%H%M%SZ"))


def _canonical_request(request: Request, signed_headers: bytes) -> bytes:
    names = signed_headers.split(b";")
    if b"host" not in names:
        raise _invalid("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    headers = [name + b":" + b" ".join(request.headers.get(name, b"").split()) for name in names]
    lines = (request.method, request.path, _canonical_query(request.query), *headers, b"", signed_headers)
    return b"\n".join((*lines, _payload_hash(request)))


def _canonical_query(query: bytes) -> bytes:
    pairs = (pair if b"=" in pair else pair + b"=" for pair in query.split(b"&") if pair)
    return b"&".join(sorted(pairs))


def _payload_hash(request: Request) -> bytes:
    """Return the payload's hash, whatever the header says, unless it says that the payload was not signed."""
    if request.headers.get(b"x-amz-content-sha256") == _UNSIGNED:
        return _UNSIGNED
    return hashlib.sha256(request.body).hexdigest().encode()


def _derive_key(secret: bytes, date: bytes, region: bytes) -> bytes:
    key = secret
    for part in (date, region, _SERVICE, b"aws4_request"):
        key = hmac.digest(key, part, "sha256")
    return key


def _incomplete(message: str) -> Refusal:
    return Refusal("IncompleteSignatureException", message)


def _invalid(message: str) -> Refusal:
    return Refusal("InvalidSignatureException", message)
