"""boto3, set up for a sender: one attempt a call, a connection for every request in flight."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from delivery.records import Answer, Request

Put = Callable[[Request], Answer]


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


def connect(service: Service, connections: int) -> Put:
    """Open a client for a task.

    Args:
        service: where requests go.
        connections: requests in flight at the most.

    Returns:
        A function that makes one call, thread-safe. Whatever the service and the way to it do is an answer, no
        exception; only an event that is not JSON, a fault of ours, raises ValueError.
    """
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},  # delivery.retry owns them
        max_pool_connections=connections,
        connect_timeout=5,
        read_timeout=30,
        tcp_keepalive=True,
    )
    client = boto3.Session().client(
        "personalize-events", region_name=service.region, endpoint_url=service.endpoint_url, config=config
    )
    return lambda request: _put(client, service.trackingId, request)


def arguments(trackingId: str, request: Request) -> dict[str, Any]:
    """Build `put_events`' arguments; an absent userId is left out, since boto3 refuses None.

    Examples:
        >>> event = '{"eventId":"e1","eventType":"view","sentAt":1704067200.125}'
        >>> arguments("t", Request("r", None, "s", ("e1",), (event,)))["eventList"]
        [{'eventId': 'e1', 'eventType': 'view', 'sentAt': 1704067200.125}]
    """
    user = {} if request.userId is None else {"userId": request.userId}
    events = [json.loads(event) for event in request.events]
    return {"trackingId": trackingId, "sessionId": request.sessionId, "eventList": events, **user}


def _put(client: Any, trackingId: str, request: Request) -> Answer:
    call = arguments(trackingId, request)
    try:
        response = client.put_events(**call)
    except ClientError as error:
        return _refusal(error)
    except ParamValidationError as error:  # botocore refuses what the service would: no call is made
        return Answer(400, "ParamValidationError", str(error))
    except BotoCoreError as error:  # no answer: connection refused, reset, timed out, no credentials
        return Answer(None, type(error).__name__, str(error))
    except Exception as error:  # botocore chokes on an error whose body is not a JSON object, by many exceptions
        return Answer(None, type(error).__name__, str(error))
    about = response["ResponseMetadata"]
    if about.get("RequestId") is None:  # some other server's 200, e.g. a proxy's page: it acknowledges nothing
        return Answer(about["HTTPStatusCode"], "NotTheService", "the answer bears no request id")
    return Answer(about["HTTPStatusCode"], awsRequestId=about["RequestId"])


def _refusal(error: ClientError) -> Answer:
    said, about = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    return Answer(about.get("HTTPStatusCode"), said.get("Code", "Unknown"), said.get("Message"), about.get("RequestId"))
