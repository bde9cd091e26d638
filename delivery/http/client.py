"""PutEvents calls from an event loop. boto3 gives the URL, the credentials and the proxy; the calls are made here.

boto3's own calls take five times the CPU: each is checked, serialised and signed from the start, in
a thread of its own.
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
    """Return a client for a service, with so many connections at the most; it opens them as calls need them."""
    return PutEventsClient(service, connections, Timeouts(), time.time)


@dataclass(frozen=True, slots=True)
class _Line:
    """What calls are made with, once it is known."""

    ring: RefreshingKeys
    signer: Signer
    pool: ConnectionPool
    stranger: StrangerDetector


class PutEventsClient:
    """Makes calls side by side, each once. Lives in one event loop.

    Args:
        service: where requests go; resolved when the client is opened, or by the first call.
        connections: to the service at the most; calls beyond it wait.
        patience: how long to wait for what.
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
        """Resolve the service ahead of the first calls, which would wait for it and then go out all at once.

        What fails is left to the calls, which tell it.
        """
        with suppress(Exception):
            await self._open()

    @property
    def ready(self) -> bool:
        """Whether a connection is at hand, so that a call that starts now goes out now."""
        return self._line is not None and self._line.pool.ready

    async def connect(self) -> Response | None:
        """Open a connection for a call to come; the answer that the call would have had if it cannot be opened."""
        line = await self._opened()
        if isinstance(line, Response):
            return line
        try:
            await line.pool.open()
        except NoResponseError as fault:
            return local_fault(fault.code, fault)
        return None

    def put(self, request: Request) -> Awaitable[Response]:
        """Make one call. Whatever the service and the way to it do is an answer, no exception.

        The call has its connection when this returns; it opens one only where none was `ready`.
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
        """Find credentials from scratch, since the service says that they have expired.

        Returns:
            Whether there are others now.

        Raises:
            SourceSilentError: their source gave none.
        """
        if self._line is None:
            return False
        if self._expired not in (None, self._line.ring.keys()):
            return True  # another call has had them renewed
        return await self._line.ring.renew()

    def abort(self) -> None:
        """End all at once, for good: calls under way get no answer."""
        self._resolution.cancel()
        if self._line is not None:
            self._line.ring.close()
            self._line.pool.abort()

    async def close(self) -> None:
        """End all at once, for good, and wait until the connections are closed."""
        self.abort()
        if self._line is not None:
            await self._line.pool.close()

    async def _opened(self) -> _Line | Response:
        try:
            return self._line or await self._open()
        except Exception as error:  # of boto3, or of whatever finds credentials
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
"""Answers without a request id, of none with one, after which a web server that fails is none of the service's."""


class StrangerDetector:
    """Reads answers in the light of those before: each of the service's own bears a request id.

    Args:
        may_be: the endpoint may be anybody's. At the region's own, a load balancer may fail before the service does.

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
        """Return the answer, or one that says that it is not the service's."""
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
"""Of PutEvents' result: there is none."""
_CODE_MAX: Final = 128
LONGEST_MESSAGE: Final = 4_096
_REQUEST_ID_MAX: Final = 128
"""Characters of the service's words that are kept. Its own are shorter."""
_quote: Final = json.JSONEncoder().encode


def render_body(trackingId: str, request: Request) -> bytes:
    """Return the JSON of a call. Events are taken as they are; half a surrogate pair is escaped, as boto3 does it.

    Examples:
        >>> event = '{"eventId":"e1","eventType":"view","sentAt":1704067200.125}'
        >>> render_body("t", Request("r", None, "s", ("e1",), (event,)))
        b'{"trackingId":"t","sessionId":"s","eventList":[{"eventId":"e1","eventType":"view","sentAt":1704067200.125}]}'
    """
    user = "" if request.userId is None else f',"userId":{_quote(request.userId)}'
    ids = f'"trackingId":{_quote(trackingId)}{user},"sessionId":{_quote(request.sessionId)}'
    return f'{{{ids},"eventList":[{",".join(request.events)}]}}'.encode("utf-8", "backslashreplace")


def read_answer(answer: HttpResponse) -> Response:
    """Say what the service said. Whatever bytes it sends, the words can be stored, sent on and printed.

    Examples:
        >>> read_answer(HttpResponse(400, {b"x-amzn-errortype": b"ThrottlingException:"}, b"{}", True)).errorCode
        'ThrottlingException'
    """
    request_id = sanitize(answer.headers.get(_REQUEST_ID, b"").decode("latin-1"), _REQUEST_ID_MAX) or None
    if answer.status >= 300:
        return Response(answer.status, *_read_error(answer), request_id)
    if request_id is None:  # some other server's 200, e.g. a proxy's page: it acknowledges nothing
        return Response(answer.status, NOT_THE_SERVICE, "the answer bears no request id")
    return Response(answer.status, awsRequestId=request_id)


def local_fault(code: str, error: Exception) -> Response:
    """Say why a call had no answer of the service; what boto3 says may quote a setting, so any bytes too."""
    return Response(None, code, sanitize(str(error), LONGEST_MESSAGE))


def _read_error(answer: HttpResponse) -> tuple[str, str | None]:
    """Return boto3's code and message; the status for a code where the answer names none."""
    sound = answer.body.decode("utf-8", "replace").encode()
    # Where the body cannot be read, a header may name the code.
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
    except Exception:  # botocore chokes on a body that is JSON but no object, in many ways
        return {}


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
