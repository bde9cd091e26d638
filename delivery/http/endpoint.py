"""The service that a delivery goes to, and how boto3 would call it: URL, headers, proxy, certificates, credentials."""

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
"""Of the schemes by which a service can be spoken to, where its URL names none."""
_SCOPE: Final = re.compile(r"^AWS4-HMAC-SHA256 Credential=[^,]+/\d{8}/([^/,]+)/([^/,]+)/aws4_request,")
_NO_KEYS: Final = {"aws_access_key_id": "-", "aws_secret_access_key": "-"}
"""What keeps boto3 from looking for credentials where none are needed."""
_UNCONFIGURED: Final = Config(ignore_configured_endpoint_urls=True)  # type: ignore[call-arg]  # the stubs lack it
"""What keeps boto3 from taking a URL from the environment or a profile."""
_AS_GIVEN: Final = _UNCONFIGURED.merge(Config(use_fips_endpoint=False, use_dualstack_endpoint=False))
"""What keeps boto3 from taking another kind of endpoint, too."""


@dataclass(frozen=True, slots=True)
class TrackerEndpoint:
    """Where requests go: the same in every process, whatever its environment says.

    Credentials are not here: boto3's default chain finds them where the call is made.

    Attributes:
        trackingId: of the dataset group's event tracker.
        region: that calls are signed for, e.g. `eu-west-1`.
        endpoint_url: the URL as boto3 resolves it; it may hold a password, so it is never shown.
        regional: whether that is AWS's own endpoint of the region; otherwise somebody has configured it.
    """

    trackingId: str
    region: str
    endpoint_url: str = field(repr=False)
    regional: bool = False

    @property
    def endpoint(self) -> str:
        """The URL in the form in which URLs compare, to be shown: without user, password, query."""
        return urlunsplit(comparable(self.endpoint_url)._replace(query=""))

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells one tracker from another: what an emulator has acknowledged, Amazon has not."""
        return (self.trackingId, self.region, urlunsplit(comparable(self.endpoint_url)))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How PutEvents is called.

    Attributes:
        url: that is posted to.
        region: that calls are signed for.
        signingName: the service that they are signed for.
        userAgent: boto3's own.
        contentType: of the body.
        proxy: on the way there, if any.
        trust: what certificates; None where neither the service nor the proxy is spoken to over TLS.
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
        """Whether its name is one of the region's; else somebody has written it down, and it may be anything."""
        return f".{self.region}." in (urlsplit(self.url).hostname or "")


@dataclass(frozen=True, slots=True)
class ResolvedEndpoint:
    """What boto3 makes of a service, in this process's environment.

    Attributes:
        endpoint: how it is called.
        credentials: botocore's; they know how to refresh themselves.
    """

    endpoint: Endpoint
    credentials: Credentials = field(repr=False)


def find_tracker_endpoint(trackingId: str, region: str, endpoint_url: str | None = None) -> TrackerEndpoint:
    """Find where boto3 would call in this process's environment. It asks for no credentials, and calls nobody.

    Args:
        trackingId: of the event tracker.
        region: its name.
        endpoint_url: that somebody gave; None for what the environment, else the profile, else the region says.

    Raises:
        BotoCoreError: there is no such profile, no region can bear such a name, or the endpoint is no URL that can be
            called. The message quotes no password.
    """
    session = Session()
    try:
        client = _client(session, region, endpoint_url, None, **_NO_KEYS)
        url = client.meta.endpoint_url
        _check_scheme(url)
    except ValueError as error:
        message = str(error) if "@" not in str(error) else "it is no URL that can be called"
        raise InvalidConfigError(error_msg=message) from None
    own = _client(session, region, None, _UNCONFIGURED, **_NO_KEYS)
    try:
        regional = comparable(url) == comparable(own.meta.endpoint_url)
    except ValueError:  # its words quote what stands where the port should, which may be a password
        raise InvalidConfigError(error_msg="the endpoint's port is none") from None
    return TrackerEndpoint(trackingId, client.meta.region_name, url, regional)


def regional_url(region: str) -> str:
    """Say which endpoint a region has where neither environment nor profile asks for another."""
    return str(_client(Session(), region, None, _AS_GIVEN, **_NO_KEYS).meta.endpoint_url)


def comparable(url: str) -> SplitResult:
    """Put a URL into the form in which two compare.

    Scheme and host are in lower case, a default port and a slash at the end are left out. So are user and password:
    they say who calls, not whom.

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
        BotoCoreError: credentials are missing or cannot be got, the endpoint is no URL, the CA bundle cannot be read,
            the proxy is none.
    """
    session = Session()
    credentials = find_credentials(session)
    try:
        return ResolvedEndpoint(_endpoint(_signed_call(session, service), session), credentials)
    except ValueError as error:
        raise InvalidConfigError(error_msg=str(error)) from None


def _signed_call(session: Session, service: TrackerEndpoint) -> AWSPreparedRequest:
    """Have boto3 make a call, and take it away just before it is sent."""
    requests: list[AWSPreparedRequest] = []

    def take(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        requests.append(request)
        return AWSResponse(request.url, 200, HTTPHeaders(), SimpleNamespace(stream=lambda: iter(())))

    # The User-Agent tells the retries, and it is so.
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
    if urlsplit(url).scheme not in PORTS:  # an option's, AWS_ENDPOINT_URL's or a profile's
        raise ValueError("the endpoint is not spoken to over http or https")
    if not is_host(urlsplit(url).hostname or ""):
        raise ValueError("the endpoint's host is not valid")


def _endpoint(call: AWSPreparedRequest, session: Session) -> Endpoint:
    _check_scheme(call.url)
    headers = {name.lower(): _text(value) for name, value in call.headers.items()}
    scope = _SCOPE.match(headers.get("authorization", ""))
    if scope is None:
        raise ValueError("boto3 is set not to sign by SigV4")
    proxy = find_proxy(call.url)
    tls = urlsplit(call.url).scheme == "https" or (proxy is not None and proxy.tls)
    trust = open_trust(find_ca_bundle(session)) if tls else None
    return Endpoint(call.url, scope[1], scope[2], headers["user-agent"], headers["content-type"], proxy, trust)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def find_ca_bundle(session: Session) -> str:
    """Find the file of trusted certificates: AWS_CA_BUNDLE, `ca_bundle`, REQUESTS_CA_BUNDLE, else botocore's own."""
    configured = session.get_config_variable("ca_bundle")
    if configured is None:
        configured = os.environ.get("REQUESTS_CA_BUNDLE")
    return str(get_cert_path(verify=True) if configured is None else configured)


def open_trust(ca_bundle: str) -> ssl.SSLContext:
    """Read a file of trusted certificates: for TLS 1.2 and later, with the other side's name checked.

    Raises:
        ValueError: it cannot be read, or holds none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(cafile=ca_bundle)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"the CA bundle {ca_bundle!r} cannot be read: {error.strerror or error}") from None
    return context
