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
from delivery.http.proxy import ProxySettingError
from delivery.http.service import Service, resolve
from delivery.sending.retry import RetryPolicy
from jobs.errors import ConfigurationError, UnfinishedError
from jobs.sending.regions import check_region

log = logging.getLogger(__name__)

RETRY: Final = RetryPolicy(base=2.0)
"""How long, and how often, a source of credentials is asked that does not give any now."""
_NO_REGION: Final = "no AWS region was found: give --region, or set AWS_DEFAULT_REGION or a profile's region"
_NO_CREDENTIALS: Final = (
    "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role"
)


def resolve_service(trackingId: str, region: str | None, endpoint_url: str | None) -> Service:
    """Resolve region and credentials by the AWS default chain, before anything is read or sent.

    Raises:
        ConfigurationError: one is missing or wrong, or the endpoint is no URL.
        UnfinishedError: a source of credentials gave none for as long as requests are retried.
    """
    session, faults = Session(), []
    try:
        region = region or session.get_config_variable("region")
    except BotoCoreError as error:  # a profile that is not there
        raise _wrong(error) from None
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
    if faults or region is None:
        raise ConfigurationError(*faults)
    return _checked(Service(trackingId, region, endpoint_url), session)


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


def _checked(service: Service, session: Session) -> Service:
    try:
        url = resolve(service).endpoint.url
    except (BotoCoreError, ValueError) as error:
        if isinstance(error, BotoCoreError) and may_come(error):  # it gave them a moment ago
            raise UnfinishedError(f"no AWS credentials now: {error}; nothing was sent; run it again") from None
        if isinstance(error, ProxySettingError):
            raise ConfigurationError(f"the way to the service: {error}") from None
        raise ConfigurationError(f"--region {service.region} or --endpoint-url is not right: {error}") from None
    fault = check_region(session, service.region, url)
    if fault is not None:
        raise ConfigurationError(fault)
    return service


def _wrong(error: BotoCoreError) -> ConfigurationError:
    return ConfigurationError(f"the AWS set-up is not right: {error}")
