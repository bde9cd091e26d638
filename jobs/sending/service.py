"""The service that a delivery goes to, resolved as boto3 resolves it, before anything is read or sent."""

from __future__ import annotations

import boto3
from botocore.exceptions import BotoCoreError

from delivery.http.service import Service, resolve
from jobs.errors import ConfigurationError


def resolve_service(trackingId: str, region: str | None, endpoint_url: str | None) -> Service:
    """Resolve region and credentials by the AWS default chain, before anything is read or sent.

    Raises:
        ConfigurationError: one is missing, or the endpoint is no URL.
    """
    try:
        session = boto3.Session()
        credentials, region = session.get_credentials(), region or session.region_name
    except BotoCoreError as error:  # half a key pair, a profile that is not there
        raise ConfigurationError(f"the AWS set-up is not right: {error}") from None
    faults = []
    if credentials is None:
        faults.append(
            "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role"
        )
    if region is None:
        faults.append("no AWS region was found: give --region, or set AWS_DEFAULT_REGION or a profile's region")
    if faults or region is None:
        raise ConfigurationError(*faults)
    return _connected(Service(trackingId, region, endpoint_url))


def _connected(service: Service) -> Service:
    try:
        resolve(service)
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"--region {service.region} or --endpoint-url is not right: {error}") from None
    return service
