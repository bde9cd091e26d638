"""PutEvents calls from an event loop. boto3 gives the URL, the credentials and the proxy; the calls are made here.

boto3's own calls take five times the CPU: each is checked, serialised and signed from the start, in a thread of its
own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from botocore.parsers import create_parser
from botocore.session import Session

from delivery.http.background import SingleFlight
from delivery.http.connections import Connection, ConnectionPool, Timeouts
from delivery.http.credentials import RefreshingKeys, SigningKeys, find_credentials
from delivery.http.endpoint import Endpoint, TrackerEndpoint, resolve
from delivery.http.response_parser import HttpResponse
from delivery.http.signing import Signer
from delivery.model import Request, Response
from delivery.responses import NOT_THE_SERVICE, NoResponseError, ResponseMeaning, interpret_response
from delivery.text import sanitize


def connect(service: TrackerEndpoint, connections: int) -> PutEventsClient:
    """Return a client for a service, with at most so many connections; it opens them as calls need them."""
    return PutEventsClient(service, connections, Timeouts(), time.time)


@dataclass(frozen=True, slots=True)
class _Line:
    """What the client uses for calls, after the service is resolved."""

    ring: RefreshingKeys
    signer: Signer
    pool: ConnectionPool
    stranger: StrangerDetector


class PutEventsClient:
    """Makes calls in parallel, each once. It belongs to one event loop.

    Args:
        service: where requests go; resolved when the client is opened, or by the first call.
        connections: at most so many to the service; further calls wait.
        patience: how long to wait for each thing.
        clock: Unix time in seconds, for signatures.
    """

    def __init__(
        self,
        service: TrackerEndpoint,
        connections: int,
        patience: Timeouts,
        clock: Callable[[], float],
    ) -> None:
        self._service = service
        self._connections = connections
        self._patience = patience
        self._clock = clock
        self._resolution = SingleFlight(self._resolve)
        self._line: _Line | None = None
        self._expired: SigningKeys | None = None

    async def open(self) -> None:
        """Resolve the service before the first calls, which would wait for it and then go out all at once.

        If it fails, the calls report it.
        """
        with suppress(Exception):
            await self._open()

    @property
    def ready(self) -> bool:
        """Whether a connection is free, so that a call that starts now goes out now."""
        return self._line is not None and self._line.pool.ready

    async def connect(self) -> Response | None:
        """Open a connection for a later call. If it cannot be opened, return the answer of that call."""
        line = await self._opened()
        if isinstance(line, Response):
            return line
        try:
            await line.pool.open()
        except NoResponseError as fault:
            return local_fault(fault.code, fault)
        return None

    def put(self, request: Request) -> Awaitable[Response]:
        """Make one call. Every result of the service and the network is an answer, not an exception.

        The call has its connection when this returns. It opens one only if none was `ready`.
        """
        return self._put(request, None if self._line is None else self._line.pool.take())

    async def _put(self, request: Request, connection: Connection | None) -> Response:
        line = await self._opened()
        if isinstance(line, Response):
            return line
        keys = line.ring.keys()
        message = line.signer.sign(render_body(self._service.trackingId, request), keys)
        try:
            answer = line.stranger.judge(read_answer(await line.pool.call(message, connection)))
        except NoResponseError as fault:
            return local_fault(fault.code, fault)
        if interpret_response(answer) is ResponseMeaning.EXPIRED:
            self._expired = keys
        return answer

    async def renew(self) -> bool:
        """Find new credentials, because the service says that they have expired.

        Returns:
            Whether they are different now.

        Raises:
            SourceSilentError: their source gave none.
        """
        if self._line is None:
            return False
        if self._expired not in (None, self._line.ring.keys()):
            return True  # another call has renewed them
        return await self._line.ring.renew()

    def abort(self) -> None:
        """End at once, for good: calls in flight get no answer."""
        self._resolution.cancel()
        if self._line is not None:
            self._line.ring.close()
            self._line.pool.abort()

    async def close(self) -> None:
        """End at once, for good, and wait until the connections are closed."""
        self.abort()
        if self._line is not None:
            await self._line.pool.close()

    async def _opened(self) -> _Line | Response:
        try:
            return self._line or await self._open()
        except Exception as error:  # of boto3, or of a source of credentials
            return local_fault(type(error).__name__, error)

    async def _open(self) -> _Line:
        seconds = self._patience.credentials
        try:
            async with asyncio.timeout(seconds):
                endpoint, ring = await self._resolution.result()
        except TimeoutError:
            raise TimeoutError(f"boto3 did not find the endpoint and credentials within {seconds:g} s") from None
        if self._line is None:
            pool = ConnectionPool(endpoint, self._connections, self._patience)
            self._line = _Line(
                ring, Signer(endpoint, self._clock), pool, StrangerDetector(may_be=not endpoint.is_amazons)
            )
        return self._line

    def _resolve(self) -> tuple[Endpoint, RefreshingKeys]:
        resolved = resolve(self._service)
        ring = RefreshingKeys(resolved.credentials, lambda: find_credentials(Session()), time.monotonic)
        return resolved.endpoint, ring


_ENOUGH: Final = 5
"""Failed answers without a request id, and none with one, after which the server is not the service."""


class StrangerDetector:
    """Recognises answers of another server: each answer of the service has a request id.

    Args:
        may_be: the endpoint may belong to another server. At the region's own, a load balancer may answer instead.

    Examples:
        >>> detector = StrangerDetector(may_be=True)
        >>> detector.judge(Response(404, "404")).errorCode
        'NotTheService'
        >>> [detector.judge(Response(502, "502")).errorCode for _ in range(4)][-2:]
        ['502', 'NotTheService']
    """

    def __init__(self, *, may_be: bool) -> None:
        self._may_be = may_be
        self._answers = 0

    def judge(self, answer: Response) -> Response:
        """Return the answer, or an answer that says that another server answers."""
        if answer.awsRequestId is not None:
            self._may_be = False
        if not self._may_be:
            return answer
        self._answers += 1
        what = interpret_response(answer)
        is_nameless = (answer.errorCode or "").isdigit()
        is_failing = what in {ResponseMeaning.FAULT, ResponseMeaning.THROTTLED} and self._answers >= _ENOUGH
        if is_failing or (what is ResponseMeaning.STOP and is_nameless):
            return replace(answer, errorCode=NOT_THE_SERVICE, errorMessage=None)
        return answer


_REQUEST_ID: Final = b"x-amzn-requestid"
_PARSER: Final = create_parser("rest-json")
_NO_SHAPE: Final[Any] = None
"""The result of PutEvents, which is empty."""
_CODE_MAX: Final = 128
LONGEST_MESSAGE: Final = 4_096
_REQUEST_ID_MAX: Final = 128
"""Characters of the service's message that are kept. Its own messages are shorter."""
_quote: Final = json.JSONEncoder().encode


def render_body(trackingId: str, request: Request) -> bytes:
    """Return the JSON of a call. Events stay as they are; half a surrogate pair is escaped, as in boto3.

    Examples:
        >>> event = '{"eventId":"e1","eventType":"view","sentAt":1704067200.125}'
        >>> render_body("t", Request("r", None, "s", ("e1",), (event,)))
        b'{"trackingId":"t","sessionId":"s","eventList":[{"eventId":"e1","eventType":"view","sentAt":1704067200.125}]}'
    """
    user = "" if request.userId is None else f',"userId":{_quote(request.userId)}'
    ids = f'"trackingId":{_quote(trackingId)}{user},"sessionId":{_quote(request.sessionId)}'
    return f'{{{ids},"eventList":[{",".join(request.events)}]}}'.encode("utf-8", "backslashreplace")


def read_answer(answer: HttpResponse) -> Response:
    """Read the answer of the service. Its message can be stored, sent on and printed, whatever its bytes are.

    Examples:
        >>> read_answer(HttpResponse(400, {b"x-amzn-errortype": b"ThrottlingException:"}, b"{}", True)).errorCode
        'ThrottlingException'
    """
    request_id = sanitize(answer.headers.get(_REQUEST_ID, b"").decode("latin-1"), _REQUEST_ID_MAX) or None
    if answer.status >= 300:
        return Response(answer.status, *_read_error(answer), request_id)
    if request_id is None:  # a 200 of another server, e.g. the page of a proxy: it acknowledges nothing
        return Response(answer.status, NOT_THE_SERVICE, "the answer has no request id")
    return Response(answer.status, awsRequestId=request_id)


def local_fault(code: str, error: Exception) -> Response:
    """Say why a call got no answer of the service. boto3 may quote a setting, so any bytes can occur."""
    return Response(None, code, sanitize(str(error), LONGEST_MESSAGE))


def _read_error(answer: HttpResponse) -> tuple[str, str | None]:
    """Return boto3's code and message; the status is the code if the answer has none."""
    sound = answer.body.decode("utf-8", "replace").encode()
    # If the body cannot be read, a header may have the code.
    error = _parse_error(answer, sound) or _parse_error(answer, b"{}")
    code, message = error.get("Code"), error.get("Message")
    return (
        sanitize(code, _CODE_MAX) if code else str(answer.status),
        None if message is None else sanitize(message, LONGEST_MESSAGE),
    )


def _parse_error(answer: HttpResponse, body: bytes) -> dict[str, str]:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers.items()}
    response = {"status_code": answer.status, "headers": headers, "body": body, "context": {}}
    try:
        error = _PARSER.parse(response, _NO_SHAPE).get("Error", {})
        return {name: _as_text(error[name]) for name in ("Code", "Message") if error.get(name) is not None}
    except Exception:  # botocore fails in many ways on a body that is JSON but not an object
        return {}


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
