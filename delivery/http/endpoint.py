"""The service of a delivery, and how boto3 would call it: URL, headers, proxy, certificates, credentials."""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import InvalidConfigError
from botocore.httpsession import get_cert_path
from botocore.session import Session

from delivery.http.credentials import find_credentials
from delivery.http.host_names import is_host
from delivery.http.proxy import Proxy, find_proxy

PORTS: Final = {"http": 80, "https": 443}
"""The default port of each scheme."""
_SCOPE: Final = re.compile(r"^AWS4-HMAC-SHA256 Credential=[^,]+/\d{8}/([^/,]+)/([^/,]+)/aws4_request,")
_NO_KEYS: Final = {"aws_access_key_id": "-", "aws_secret_access_key": "-"}
"""Prevents boto3 from looking for credentials that are not needed."""
_UNCONFIGURED: Final = Config(ignore_configured_endpoint_urls=True)  # type: ignore[call-arg]  # the stubs lack it
"""Prevents boto3 from using a URL of the environment or a profile."""
_AS_GIVEN: Final = _UNCONFIGURED.merge(Config(use_fips_endpoint=False, use_dualstack_endpoint=False))
"""Prevents boto3 from using another kind of endpoint too."""


@dataclass(frozen=True, slots=True)
class TrackerEndpoint:
    """Where requests go: the same in every process, whatever its environment is.

    It has no credentials: boto3's default chain finds them in the process that calls.

    Attributes:
        trackingId: of the dataset group's event tracker.
        region: the region in the signatures, e.g. `eu-west-1`.
        endpoint_url: the URL that boto3 resolved; it may have a password, so it is never shown.
        regional: whether it is AWS's own endpoint of the region; otherwise somebody has configured it.
    """

    trackingId: str
    region: str
    endpoint_url: str = field(repr=False)
    regional: bool = False

    @property
    def endpoint(self) -> str:
        """The URL in its comparable form, without user, password and query, so it can be shown."""
        return urlunsplit(comparable(self.endpoint_url)._replace(query=""))

    @property
    def key(self) -> tuple[str, str, str]:
        """What distinguishes trackers: an event that an emulator has acknowledged is not at Amazon."""
        return (self.trackingId, self.region, urlunsplit(comparable(self.endpoint_url)))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How PutEvents is called.

    Attributes:
        url: the URL of the POST.
        region: the region in the signatures.
        signingName: the service in the signatures.
        userAgent: boto3's own.
        contentType: of the body.
        proxy: before the service, if any.
        trust: the trusted certificates; None if neither the service nor the proxy uses TLS.
    """

    url: str
    region: str
    signingName: str
    userAgent: str
    contentType: str
    proxy: Proxy | None = None
    trust: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def is_amazons(self) -> bool:
        """Whether the host is one of the region's; otherwise somebody has configured it, and it may be anything."""
        return f".{self.region}." in (urlsplit(self.url).hostname or "")


@dataclass(frozen=True, slots=True)
class ResolvedEndpoint:
    """A service as boto3 resolves it in the environment of this process.

    Attributes:
        endpoint: how it is called.
        credentials: botocore's; they refresh themselves.
    """

    endpoint: Endpoint
    credentials: Credentials = field(repr=False)


def find_tracker_endpoint(trackingId: str, region: str, endpoint_url: str | None = None) -> TrackerEndpoint:
    """Find where boto3 would call in the environment of this process. It needs no credentials, and makes no call.

    Args:
        trackingId: of the event tracker.
        region: its name.
        endpoint_url: from an option; None to use the environment, or the profile, or the region.

    Raises:
        BotoCoreError: the profile does not exist, the region has an impossible name, or the endpoint is not a URL that
            can be called. The message quotes no password.
    """
    session = Session()
    try:
        client = _client(session, region, endpoint_url, None, **_NO_KEYS)
        url = client.meta.endpoint_url
        _check_scheme(url)
    except ValueError as error:
        message = str(error) if "@" not in str(error) else "it is not a URL that can be called"
        raise InvalidConfigError(error_msg=message) from None
    own = _client(session, region, None, _UNCONFIGURED, **_NO_KEYS)
    try:
        regional = comparable(url) == comparable(own.meta.endpoint_url)
    except ValueError:  # its message quotes the text in the place of the port, which may be a password
        raise InvalidConfigError(error_msg="the endpoint's port is not valid") from None
    return TrackerEndpoint(trackingId, client.meta.region_name, url, regional)


def regional_url(region: str) -> str:
    """Return the endpoint of a region if neither environment nor profile sets another."""
    return str(_client(Session(), region, None, _AS_GIVEN, **_NO_KEYS).meta.endpoint_url)


def comparable(url: str) -> SplitResult:
    """Return a URL in its comparable form.

    Scheme and host are in lower case. A default port and a slash at the end are left out. So are user and password,
    because they say who calls, not where.

    Examples:
        >>> comparable("HTTPS://me:hush@Own.Example:443/v1/").geturl()
        'https://own.example/v1'
        >>> comparable("http://[::1]:8080").geturl()
        'http://[::1]:8080'
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    host_in_url = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, PORTS.get(parts.scheme)) else f":{parts.port}"
    return SplitResult(parts.scheme, host_in_url + port, parts.path.rstrip("/"), parts.query, "")


def resolve(service: TrackerEndpoint) -> ResolvedEndpoint:
    """Resolve how a service is called from this process. Blocks, and may use the network for the credentials.

    Raises:
        BotoCoreError: credentials are missing or cannot be got, the endpoint is not a URL, the CA bundle cannot be
            read, or the proxy is not valid.
    """
    session = Session()
    credentials = find_credentials(session)
    try:
        return ResolvedEndpoint(_endpoint(_signed_call(session, service), session), credentials)
    except ValueError as error:
        raise InvalidConfigError(error_msg=str(error)) from None


def _signed_call(session: Session, service: TrackerEndpoint) -> AWSPreparedRequest:
    """Let boto3 make a call, and take it just before it is sent."""
    requests: list[AWSPreparedRequest] = []

    def take(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        requests.append(request)
        return AWSResponse(request.url, 200, HTTPHeaders(), SimpleNamespace(stream=lambda: iter(())))

    # The User-Agent names the retries, and this is true.
    config = Config(retries={"total_max_attempts": 1, "mode": "standard"}).merge(_AS_GIVEN)
    client = _client(session, service.region, service.endpoint_url, config)
    client.meta.events.register_first("before-send.personalize-events.PutEvents", take)
    client.put_events(trackingId="-", sessionId="-", eventList=[{"eventType": "-", "sentAt": 0}])
    return requests[0]


def _client(session: Session, region: str, endpoint_url: str | None, config: Config | None, **keys: str) -> Any:
    boto3_session = boto3.Session(botocore_session=session)
    return boto3_session.client(
        "personalize-events", region_name=region, endpoint_url=endpoint_url, config=config, **keys
    )


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in PORTS:  # of an option, AWS_ENDPOINT_URL or a profile
        raise ValueError("the endpoint does not use http or https")
    if not is_host(urlsplit(url).hostname or ""):
        raise ValueError("the endpoint's host is not valid")


def _endpoint(call: AWSPreparedRequest, session: Session) -> Endpoint:
    _check_scheme(call.url)
    headers = {name.lower(): _text(value) for name, value in call.headers.items()}
    scope = _SCOPE.match(headers.get("authorization", ""))
    if scope is None:
        raise ValueError("boto3 is configured not to sign by SigV4")
    proxy = find_proxy(call.url)
    tls = urlsplit(call.url).scheme == "https" or (proxy is not None and proxy.tls)
    trust = open_trust(find_ca_bundle(session)) if tls else None
    return Endpoint(call.url, scope[1], scope[2], headers["user-agent"], headers["content-type"], proxy, trust)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def find_ca_bundle(session: Session) -> str:
    """Find the file of trusted certificates: AWS_CA_BUNDLE, `ca_bundle`, REQUESTS_CA_BUNDLE, or botocore's own."""
    configured = session.get_config_variable("ca_bundle")
    if configured is None:
        configured = os.environ.get("REQUESTS_CA_BUNDLE")
    return str(get_cert_path(verify=True) if configured is None else configured)


def open_trust(ca_bundle: str) -> ssl.SSLContext:
    """Read a file of trusted certificates, for TLS 1.2 and later, with a check of the other side's name.

    Raises:
        ValueError: it cannot be read, or has no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(cafile=ca_bundle)
    except OSError as error:  # ssl.SSLError is an OSError
        raise ValueError(f"the CA bundle {ca_bundle!r} cannot be read: {error.strerror or error}") from None
    return context
