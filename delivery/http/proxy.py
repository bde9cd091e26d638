"""The proxy on the way to the service, as boto3 finds it: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or the system's."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from botocore.utils import get_environ_proxies


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy listens.

    Attributes:
        host: its name or address.
        port: 0 to 65535.
        tls: whether it is spoken to over TLS.
        authorization: for the header `Proxy-Authorization`; None where its URL names no user and password.
    """

    host: str
    port: int
    tls: bool = False
    authorization: str | None = field(default=None, repr=False)


def find_proxy(url: str) -> Proxy | None:
    """Find the proxy for a URL; None where there is none.

    Raises:
        ValueError: what is set is no URL of an HTTP proxy. The message quotes none of it: it may bear a password.
    """
    scheme = urlsplit(url).scheme
    told = get_environ_proxies(url).get(scheme)
    if not told:
        return None
    try:
        proxy = _read(urlsplit(_with_scheme(told)))
    except ValueError:
        proxy = None
    if proxy is None:
        raise ValueError(f"{scheme.upper()}_PROXY is no http:// or https:// URL of a proxy")
    return proxy


def _with_scheme(told: str) -> str:
    return told if "://" in told else f"http://{told.removeprefix('//')}"


def _read(parts: SplitResult) -> Proxy | None:
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    tls = parts.scheme == "https"
    return Proxy(parts.hostname, parts.port or (443 if tls else 80), tls, _authorization(parts))


def _authorization(parts: SplitResult) -> str | None:
    if not parts.username or not parts.password:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password)}"
    return f"Basic {b64encode(pair.encode()).decode()}"
