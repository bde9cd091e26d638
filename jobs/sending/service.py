"""The service that a delivery goes to, resolved as boto3 resolves it, before anything is read or sent."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Final

from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.session import Session

from delivery.http.keys import find_credentials, may_come
from delivery.http.service import Service, find_service, resolve
from delivery.sending.retry import RetryPolicy
from jobs.errors import ConfigurationError, UnfinishedError
from jobs.sending.regions import check_region

log = logging.getLogger(__name__)

TRACKER: Final[dict[str, str | None]] = dict.fromkeys(("trackingId", "region", "endpoint"))
"""What names a tracker in a summary, not known yet."""
RETRY: Final = RetryPolicy(base=2.0)
"""How long, and how often, a source of credentials is asked that does not give any now."""
_NO_REGION: Final = "no AWS region was found: give --region, or set AWS_DEFAULT_REGION or a profile's region"
_NO_CREDENTIALS: Final = (
    "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role"
)


def resolve_service(trackingId: str, region: str | None, endpoint_url: str | None) -> Service:
    """Resolve endpoint, region and credentials by the AWS default chain, before anything is read or sent.

    Raises:
        ConfigurationError: one is missing or wrong.
        UnfinishedError: a source of credentials gave none for as long as requests are retried.
    """
    faults = []
    region = region or _configured_region()
    if region is None:
        faults.append(_NO_REGION)
    try:
        # Of a run that cannot go on in any case, nobody waits for credentials.
        wait_for(lambda: find_credentials(Session()), RETRY if region is not None else RetryPolicy(budget=0.0))
    except NoCredentialsError:
        faults.append(_NO_CREDENTIALS)
    except UnfinishedError:
        if region is not None:
            raise
    except BotoCoreError as error:
        raise _wrong(error) from None
    if faults:
        raise ConfigurationError(*faults)
    service = locate_service(trackingId, region, endpoint_url)
    try:
        resolve(service)
    except BotoCoreError as error:
        if may_come(error):  # it gave them a moment ago
            raise UnfinishedError(f"no AWS credentials now: {error}; nothing was sent; run it again") from None
        raise _wrong(error) from None
    return service


def locate_service(trackingId: str, region: str | None, endpoint_url: str | None) -> Service:
    """Resolve endpoint and region by the AWS default chain, for a run that calls nobody: it needs no credentials.

    Raises:
        ConfigurationError: one is missing or wrong.
    """
    region = region or _configured_region()
    if region is None:
        raise ConfigurationError(_NO_REGION)
    try:
        service = find_service(trackingId, region, endpoint_url)
    except BotoCoreError as error:
        raise ConfigurationError(
            f"the region {region} or the endpoint is not right: {error}; look at --region, --endpoint-url, "
            "AWS_ENDPOINT_URL and the profile"
        ) from None
    fault = check_region(Session(), service.region, service.endpoint_url)
    if fault is not None:
        raise ConfigurationError(fault)
    return service


def name_tracker(service: Service) -> dict[str, str | None]:
    """Name a tracker as the summary does: the three together; no password is in the endpoint."""
    return dict(zip(TRACKER, (service.trackingId, service.region, service.endpoint), strict=True))


def wait_for(find: Callable[[], object], retry: RetryPolicy, sleep: Callable[[float], None] = time.sleep) -> None:
    """Ask for credentials until they are there, as often and as long as may be.

    Raises:
        BotoCoreError: somebody must mend something first.
        UnfinishedError: their source gave none all the while.
    """
    started, asked = time.monotonic(), 0
    while True:
        try:
            find()
        except BotoCoreError as error:
            if not may_come(error):
                raise
            asked += 1
            left = started + retry.budget - time.monotonic()
            if left <= 0:
                raise UnfinishedError(
                    f"no AWS credentials yet, after {retry.budget:,.0f} s: {error}; nothing was sent; run it again"
                ) from None
            if asked == 1:
                log.warning("no AWS credentials yet: %s; asking again for up to %.0f s", error, retry.budget)
            sleep(min(retry.pause(asked, random.uniform(0.5, 1.0)), left))  # noqa: S311 - no secret
        else:
            return


def _configured_region() -> str | None:
    try:
        return Session().get_config_variable("region")  # type: ignore[no-any-return]
    except BotoCoreError as error:  # a profile that is not there
        raise _wrong(error) from None


def _wrong(error: BotoCoreError) -> ConfigurationError:
    return ConfigurationError(f"the AWS set-up is not right: {error}")
