"""A client of the emulator as users have it: stock boto3, without retries."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

import emulator

Connect = Callable[..., Any]
_NO_ANSWER = {ConnectionClosedError: "closed", ReadTimeoutError: "no answer"}


@pytest.fixture
def connect() -> Connect:
    """Return a function from a server or its URL, and overriding client arguments, to a boto3 client."""

    def build(server: emulator.Server | str, **overrides: Any) -> Any:
        arguments = {
            "endpoint_url": server if isinstance(server, str) else server.endpoint_url,
            "region_name": "eu-west-1",
            "aws_access_key_id": "AKIDEMULATOR",
            "aws_secret_access_key": "emulator-secret",
            "config": Config(retries={"total_max_attempts": 1}, max_pool_connections=50),
        }
        return boto3.session.Session().client("personalize-events", **(arguments | overrides))

    return build


@pytest.fixture
def server() -> Iterator[emulator.Server]:
    with emulator.running() as running_server:
        yield running_server


@pytest.fixture
def client(server: emulator.Server, connect: Connect) -> Any:
    return connect(server)


@pytest.fixture
def call() -> Callable[..., dict[str, Any]]:
    """Return a function to the arguments of a good call of one event; its arguments change the event."""

    def build(**event: Any) -> dict[str, Any]:
        base = {"eventType": "view", "sentAt": dt.datetime(2024, 1, 1, tzinfo=dt.UTC)}
        return {"trackingId": "t-1", "userId": "u-1", "sessionId": "s-1", "eventList": [base | event]}

    return build


@pytest.fixture
def outcome() -> Callable[[Any, dict[str, Any]], str]:
    """Return a function that makes a call and says what the client saw: ok, status and error code, or no answer."""

    def put(client: Any, call: dict[str, Any]) -> str:
        try:
            client.put_events(**call)
        except ClientError as error:
            return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error']['Code']}"
        except tuple(_NO_ANSWER) as error:
            return _NO_ANSWER[type(error)]
        return "ok"

    return put
