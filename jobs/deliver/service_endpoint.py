"""Resolves the service of a delivery as boto3 does, before anything is read or sent."""

from __future__ import annotations

import logging
import random
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import wait
from difflib import get_close_matches
from typing import Final, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.session import Session

from delivery.http.background import run_beside
from delivery.http.credentials import find_credentials, may_come
from delivery.http.endpoint import TrackerEndpoint, find_tracker_endpoint, resolve
from delivery.http.proxy import ProxySettingError
from delivery.sender.request_executor import RetryPolicy
from jobs.errors import ConfigurationError, UnfinishedError

log = logging.getLogger(__name__)

_T = TypeVar("_T")

TRACKER: Final[dict[str, str | None]] = dict.fromkeys(("region", "endpoint"))
"""The summary's names of a tracker, besides the tracking id of the command line; not known yet."""
RETRY: Final = RetryPolicy(base=2.0)
"""How long and how often a source of credentials is asked again if it gives none."""
_GLANCE_SECONDS: Final = 5.0
"""Seconds to look for credentials if the run must end anyway."""
_QUIET_SECONDS: Final = 5.0
"""Seconds that a source may take before the wait is logged."""
_NO_REGION: Final = "no AWS region was found: give --region, or set AWS_DEFAULT_REGION or a profile's region"
_NO_CREDENTIALS: Final = (
    "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role"
)


def resolve_service(trackingId: str, region: str | None, endpoint_url: str | None) -> TrackerEndpoint:
    """Resolve endpoint, region and credentials by the AWS default chain, before anything is read or sent.

    Raises:
        ConfigurationError: one is missing or wrong.
        UnfinishedError: a source of credentials gave none during the whole retry budget.
    """
    region = region or _configured_region()
    if region is None:
        raise ConfigurationError(_NO_REGION, *_glance_at_credentials())
    service = locate_service(trackingId, region, endpoint_url)
    try:
        wait_for_credentials(lambda: find_credentials(Session()), RETRY)
    except NoCredentialsError:
        raise ConfigurationError(_NO_CREDENTIALS) from None
    except BotoCoreError as error:
        raise _explain_setup(error) from None
    try:
        wait_for_credentials(lambda: resolve(service), RETRY)
    except BotoCoreError as error:
        raise _explain_address(service.region, error) from None
    return service


def locate_service(trackingId: str, region: str | None, endpoint_url: str | None) -> TrackerEndpoint:
    """Resolve endpoint and region by the AWS default chain, for a run without calls, which needs no credentials.

    Raises:
        ConfigurationError: one is missing or wrong.
    """
    region = region or _configured_region()
    if region is None:
        raise ConfigurationError(_NO_REGION)
    if typo := check_spelling(region):
        raise ConfigurationError(typo)
    try:
        service = find_tracker_endpoint(trackingId, region, endpoint_url)
    except BotoCoreError as error:
        raise _explain_address(region, error) from None
    fault = check_region(Session(), service.region, service.endpoint)
    if fault is not None:
        raise ConfigurationError(fault)
    return service


def name_tracker(service: TrackerEndpoint) -> dict[str, str | None]:
    """Give a tracker's region and endpoint by the summary's names, without a password."""
    return dict(zip(TRACKER, (service.region, service.endpoint), strict=True))


def wait_for_credentials(find: Callable[[], _T], retry: RetryPolicy) -> _T:
    """Ask for credentials until they come, within the retry budget. One attempt may take all of it.

    Raises:
        BotoCoreError: the user must correct something first.
        UnfinishedError: their source gave none in this time.
    """
    until, attempts, why = time.monotonic() + retry.budget, 0, "their source does not answer"
    while (remaining := until - time.monotonic()) > 0:
        search = run_beside(find)
        if wait([search], min(_QUIET_SECONDS, remaining)).not_done:
            if not attempts:
                _log_waiting(why, retry)
            wait([search], until - time.monotonic())
        if not search.done():
            break
        error = search.exception()
        if error is None:
            return search.result()
        if not isinstance(error, BotoCoreError) or not may_come(error):
            raise error
        attempts, why = attempts + 1, str(error)
        if attempts == 1:
            _log_waiting(why, retry)
        time.sleep(min(retry.pause(attempts, random.uniform(0.5, 1.0)), max(until - time.monotonic(), 0.0)))  # noqa: S311 - no secret
    raise UnfinishedError(f"no AWS credentials yet, after {retry.budget:,.0f} s: {why}; nothing was sent; run it again")


def _log_waiting(why: str, retry: RetryPolicy) -> None:
    log.warning("no AWS credentials yet: %s; asking again for up to %.0f s", why, retry.budget)


def _glance_at_credentials() -> list[str]:
    """Report missing credentials of a run that must end anyway, without waiting for them.

    Raises:
        ConfigurationError: their configuration is wrong.
    """
    wait([search := run_beside(lambda: find_credentials(Session()))], _GLANCE_SECONDS)
    try:
        if search.done():
            search.result()
    except NoCredentialsError:
        return [_NO_CREDENTIALS]
    except BotoCoreError as error:
        if not may_come(error):
            raise _explain_setup(error) from None
    return []


def _configured_region() -> str | None:
    try:
        return Session().get_config_variable("region")  # type: ignore[no-any-return]
    except BotoCoreError as error:  # the profile does not exist
        raise _explain_setup(error) from None


def _explain_setup(error: BotoCoreError) -> ConfigurationError:
    return ConfigurationError(f"the AWS configuration is wrong: {error}")


def _explain_address(region: str, error: BotoCoreError) -> ConfigurationError:
    if isinstance(error, ProxySettingError):
        return ConfigurationError(f"the connection to the service: {error}")
    what = f"--region {region}, --endpoint-url, or a variable or profile of AWS"
    return ConfigurationError(f"{what} is not right: {error}")


_REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+")
_SET_BY: Final = "Set it by --region, AWS_DEFAULT_REGION or the profile"
_SERVICE: Final = "personalize"
"""The service's name in botocore's lists of regions, which do not have personalize-events."""


def check_region(session: Session, region: str, url: str, resolves: Callable[[str], bool] | None = None) -> str | None:
    """Explain what is wrong with a region.

    A region that this botocore does not know may be newer: then its endpoint has an address. A known region is not
    looked up: if it has no address, the network is at fault, which may recover.

    Args:
        session: gives botocore's data.
        region: its name.
        url: the endpoint that boto3 makes of the region, or that the user set.
        resolves: whether a host's name has an address; None to ask the system.

    Returns:
        The fault; None if there is none, or if the region is only used for signing.
    """
    host = urlsplit(url).hostname or ""
    if f".{region}." not in host or region in (known := known_regions(session)):
        return None
    if (resolves or has_address)(host):
        return None
    similar = get_close_matches(region, sorted(known), 1)
    hint = f"did you mean {similar[0]}?" if similar else f"choose one of {', '.join(sorted(known))}."
    return (
        f"region {region}: Amazon Personalize is not known there, and its endpoint has no address ({url}): "
        f"{hint} {_SET_BY}"
    )


def check_spelling(region: str) -> str | None:
    """Explain a misspelt region: one that differs from a region's name only in case, blanks or underscores.

    With any endpoint, calls would be signed for a region that does not exist.

    Examples:
        >>> check_spelling("EU-WEST-1")
        'region EU-WEST-1: did you mean eu-west-1? Set it by --region, AWS_DEFAULT_REGION or the profile'
        >>> check_spelling("eu-west-1"), check_spelling("Local")
        (None, None)
    """
    spelt = re.sub(r"[\s_-]+", "-", region.strip()).lower()
    if spelt == region or not _REGION.fullmatch(spelt):
        return None
    return f"region {region}: did you mean {spelt}? {_SET_BY}"


def known_regions(session: Session) -> set[str]:
    """List the regions of the service, in all partitions."""
    return {
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions(_SERVICE, partition)
    }


def has_address(host: str) -> bool:
    """Ask the system whether a host's name has an address."""
    try:
        return bool(socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return False
