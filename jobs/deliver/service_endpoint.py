"""The service that a delivery goes to, resolved as boto3 resolves it, before anything is read or sent."""

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
"""What names a tracker in a summary, beside the tracking id that the command line gives; not known yet."""
RETRY: Final = RetryPolicy(base=2.0)
"""How long, and how often, a source of credentials is asked that does not give any now."""
_GLANCE_SECONDS: Final = 5.0
"""Seconds that credentials are looked for where the run cannot go on in any case."""
_QUIET_SECONDS: Final = 5.0
"""Seconds that a source may be silent before a person hears of it."""
_NO_REGION: Final = "no AWS region was found: give --region, or set AWS_DEFAULT_REGION or a profile's region"
_NO_CREDENTIALS: Final = (
    "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role"
)


def resolve_service(trackingId: str, region: str | None, endpoint_url: str | None) -> TrackerEndpoint:
    """Resolve endpoint, region and credentials by the AWS default chain, before anything is read or sent.

    Raises:
        ConfigurationError: one is missing or wrong.
        UnfinishedError: a source of credentials gave none for as long as requests are retried.
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
    """Resolve endpoint and region by the AWS default chain, for a run that calls nobody: it needs no credentials.

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
    """Name a tracker's region and endpoint as the summary does, without a password."""
    return dict(zip(TRACKER, (service.region, service.endpoint), strict=True))


def wait_for_credentials(find: Callable[[], _T], retry: RetryPolicy) -> _T:
    """Ask for credentials until they are there, as often and as long as may be; one look may take all that time.

    Raises:
        BotoCoreError: somebody must mend something first.
        UnfinishedError: their source gave none all the while.
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
    """Say whether credentials are missing too, of a run that cannot go on in any case: nobody waits for them.

    Raises:
        ConfigurationError: their set-up is wrong.
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
    except BotoCoreError as error:  # a profile that is not there
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
"""As botocore's data name the service's regions; they name none of personalize-events itself."""


def check_region(session: Session, region: str, url: str, resolves: Callable[[str], bool] | None = None) -> str | None:
    """Say what is wrong with a region.

    One that this botocore does not know may be newer than it: its endpoint's name has an address then. Of a region that
    is known nothing is asked: where its name has no address, the network is at fault, which may heal.

    Args:
        session: whose botocore's data count.
        region: its name.
        url: of the endpoint that boto3 makes of it, or that somebody gave in its place.
        resolves: says whether a host's name has an address; None for the system's own way.

    Returns:
        None where nothing is wrong, or where the region only signs.
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
    """Say what is wrong with a region that differs from a region's name in letters' case, blanks and underscores alone.

    No region is called so, whatever the endpoint: calls would be signed for one that does not exist.

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
