"""The proxy before the service, as boto3 finds it: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or the system's."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from botocore.exceptions import InvalidConfigError
from botocore.utils import get_environ_proxies

from delivery.http.host_names import is_host

_SPACES: Final = re.compile(r"\s")
_SYSTEM: Final = "the system's proxy setting"


class ProxySettingError(InvalidConfigError):
    """The setting of a proxy is not valid. The message names the setting and does not quote it: it may have a password.

    Args:
        setting: the name of the variable.
        fault: what is wrong with it.
    """

    def __init__(self, setting: str, fault: str) -> None:
        super().__init__(
            error_msg=f"{setting}: {fault}; write e.g. http://proxy.example:3128, or name the service in NO_PROXY"
        )


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy listens.

    Attributes:
        host: its name or address.
        port: 1 to 65535.
        tls: whether it uses TLS.
        authorization: for the header `Proxy-Authorization`; None if its URL has no user and password.
    """

    host: str
    port: int
    tls: bool = False
    authorization: str | None = field(default=None, repr=False)


def find_proxy(url: str) -> Proxy | None:
    """Find the proxy for a URL; None if there is none.

    Raises:
        ProxySettingError: the setting is not the URL of an HTTP proxy.
    """
    scheme = urlsplit(url).scheme
    setting = get_environ_proxies(url).get(scheme)
    if not setting:
        return None
    try:
        return _read(_with_scheme(setting))
    except ValueError as fault:
        raise ProxySettingError(_setting(scheme, setting, os.environ), str(fault)) from None


def _setting(scheme: str, setting: str, environment: Mapping[str, str]) -> str:
    """Name the variable that sets a proxy; its name may be in upper or lower case."""
    names = [name for name, value in environment.items() if name.lower() == f"{scheme}_proxy" and value == setting]
    return min(names, default=_SYSTEM, key=lambda name: name != name.lower())


def _with_scheme(setting: str) -> str:
    return setting if "://" in setting else f"http://{setting.removeprefix('//')}"


def _read(setting: str) -> Proxy:
    """Read a proxy's URL.

    Raises:
        ValueError: it is not valid; the message says why, without the URL.
    """
    try:
        parts = urlsplit(setting)
        port = parts.port
    except ValueError:
        raise ValueError("its host or its port is not valid") from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError("only http:// and https:// proxies can be used")
    # urlsplit removes line breaks and tabs, and keeps any other white space.
    if _SPACES.search(setting) or not parts.hostname or not is_host(parts.hostname):
        raise ValueError("its host is not valid")
    if port == 0:
        raise ValueError("its port is not valid")
    tls = parts.scheme == "https"
    return Proxy(parts.hostname, port or (443 if tls else 80), tls, _authorization(parts))


def _authorization(parts: SplitResult) -> str | None:
    if not parts.username or not parts.password:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password)}"
    try:
        return f"Basic {b64encode(pair.encode()).decode()}"
    except UnicodeEncodeError:
        raise ValueError("its user or its password is not UTF-8") from None
