"""The service that a delivery goes to, and how boto3 would call it: URL, headers, proxy, certificates, credentials."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import InvalidConfigError
from botocore.session import Session

from delivery.http.host_names import is_host
from delivery.http.keys import find_credentials
from delivery.http.proxy import Proxy, find_proxy
from delivery.http.trust import find_ca_bundle, open_trust

PORTS: Final = {"http": 80, "https": 443}
"""Of the schemes by which a service can be spoken to, where its URL names none."""
_SCOPE: Final = re.compile(r"^AWS4-HMAC-SHA256 Credential=[^,]+/\d{8}/([^/,]+)/([^/,]+)/aws4_request,")


@dataclass(frozen=True, slots=True)
class Service:
    """Where requests go. Credentials are not here: boto3's default chain finds them where the call is made.

    Attributes:
        trackingId: of the dataset group's event tracker.
        region: e.g. `eu-west-1`.
        endpoint_url: None for the region's own.
    """

    trackingId: str
    region: str
    endpoint_url: str | None = None


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
class Resolved:
    """What boto3 makes of a service, in this process's environment.

    Attributes:
        endpoint: how it is called.
        credentials: botocore's; they know how to refresh themselves.
    """

    endpoint: Endpoint
    credentials: Credentials = field(repr=False)


def resolve(service: Service) -> Resolved:
    """Resolve a service as boto3 does. Blocks, and may use the network, as the source of the credentials wants it.

    Raises:
        BotoCoreError: credentials are missing or cannot be got, the endpoint is no URL, the CA bundle cannot be read,
            the proxy is none.
    """
    session = Session()
    credentials = find_credentials(session)
    try:
        return Resolved(_endpoint(_signed_call(session, service), session), credentials)
    except ValueError as error:
        raise InvalidConfigError(error_msg=str(error)) from None


def _signed_call(session: Session, service: Service) -> AWSPreparedRequest:
    """Have boto3 make a call, and take it away just before it is sent."""
    taken: list[AWSPreparedRequest] = []

    def take(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        taken.append(request)
        return AWSResponse(request.url, 200, HTTPHeaders(), SimpleNamespace(stream=lambda: iter(())))

    config = Config(retries={"total_max_attempts": 1, "mode": "standard"})  # the User-Agent tells it, and it is so
    client = boto3.Session(botocore_session=session).client(
        "personalize-events", region_name=service.region, endpoint_url=service.endpoint_url, config=config
    )
    client.meta.events.register_first("before-send.personalize-events.PutEvents", take)
    client.put_events(trackingId="-", sessionId="-", eventList=[{"eventType": "-", "sentAt": 0}])
    return taken[0]


def _endpoint(call: AWSPreparedRequest, session: Session) -> Endpoint:
    url = urlsplit(call.url)
    if url.scheme not in PORTS:  # an option's, AWS_ENDPOINT_URL's or a profile's
        raise ValueError("the endpoint is not spoken to over http or https")
    if not is_host(url.hostname or ""):
        raise ValueError("the endpoint's host is not valid")
    headers = {name.lower(): _text(value) for name, value in call.headers.items()}
    scope = _SCOPE.match(headers.get("authorization", ""))
    if scope is None:
        raise ValueError("boto3 is set not to sign by SigV4")
    proxy = find_proxy(call.url)
    tls = url.scheme == "https" or (proxy is not None and proxy.tls)
    trust = open_trust(find_ca_bundle(session)) if tls else None
    return Endpoint(call.url, scope[1], scope[2], headers["user-agent"], headers["content-type"], proxy, trust)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
