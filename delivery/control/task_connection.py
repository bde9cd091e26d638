"""A task's line to its driver: a sealed connection, which comes again when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from delivery.control.task_session import TaskSession
from delivery.control.wire import (
    LONGEST_GREETING,
    ChannelError,
    DriverAddress,
    Message,
    MessageMac,
    message_macs,
    nonce,
    read_line,
)

_BEAT: Final = 0.2
"""Seconds between two questions."""
_SILENT: Final = 2.0
"""Seconds without an answer after which the line counts as broken; a lease lasts longer."""
_AGAIN: Final = 0.3
"""Seconds before the line is tried anew."""
_NEVER: Final = 15.0
"""Seconds after which a driver that was never reached is given up."""
_LOST: Final = 30.0
"""Seconds after which a driver that was lost is given up."""
_GOODBYE: Final = 10.0
"""Seconds in which the last outcomes must have arrived."""


class DriverNotReachedError(Exception):
    """The driver was never reached: nothing was sent."""


@dataclass(frozen=True, slots=True)
class TaskAttempt:
    """One attempt of Spark's at a part.

    Attributes:
        name: unique.
        part: its number.
    """

    name: str
    part: int


class TaskConnection:
    """Brings a task's questions to the driver and the answers back.

    Args:
        address: of the driver.
        attempt: who one is.
        task_session: what is said.
        clock: seconds, monotonic.
    """

    def __init__(
        self, address: DriverAddress, attempt: TaskAttempt, task_session: TaskSession, clock: Callable[[], float]
    ) -> None:
        self._address = address
        self._attempt = attempt
        self._task_session = task_session
        self._clock = clock
        self._host = address.host
        """Where to connect: once the driver was reached, just there. Of several addresses Python 3.11 does not tell
        that each has refused."""
        self._reached = False
        self._last_answer = clock()
        self._send: Callable[[Message], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def hold(self) -> None:
        """Keep the line until the task has left and the driver knows all of it, or cannot be told.

        Raises:
            DriverNotReachedError: it never was.
        """
        while not self._is_over():
            try:
                await self._converse()
            except ConnectionRefusedError:
                if self._reached:  # nobody listens where the driver did: it is dead, and what is sent now is sent again
                    self._task_session.give_up()
                await asyncio.sleep(_AGAIN)
            except (ConnectionError, ChannelError):
                self._task_session.handle_hang_up()
                await asyncio.sleep(_AGAIN)
            except (OSError, TimeoutError):
                await asyncio.sleep(_AGAIN)

    def leave(self, *, complete: bool) -> None:
        """Say that the task makes no more calls, and whether its part is complete."""
        self._task_session.leave(complete=complete)
        self._last_answer = self._clock()
        self.ask()

    def _is_over(self) -> bool:
        """Whether there is nothing more to say, or nobody to say it to."""
        silent = self._clock() - self._last_answer
        if self._task_session.leaving:
            return self._task_session.over or silent > _GOODBYE
        if not self._reached and silent > _NEVER:
            raise DriverNotReachedError(f"the driver was not reached at {self._address.host}:{self._address.port}")
        if silent > _LOST:
            self._task_session.give_up()
        return False

    async def _converse(self) -> None:
        """Ask again and again, until the driver knows all or the connection breaks."""
        async with asyncio.timeout(_SILENT):
            reader, writer = await asyncio.open_connection(self._host, self._address.port)
        try:
            to_driver, to_task = await self._authenticate(reader, writer)
            self._send = lambda message: writer.write(to_driver.sign(message))
            self._task_session.start()
            self.ask()
            while not self._is_over():
                answer = to_task.verify(await read_line(reader, _SILENT))
                self._reached, self._last_answer = True, self._clock()
                self._host = (writer.get_extra_info("peername") or [self._host])[0]
                self._task_session.apply_answer(answer)
        finally:
            self._send = None
            if self._timer is not None:
                self._timer.cancel()
            writer.close()

    async def _authenticate(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[MessageMac, MessageMac]:
        tasks = nonce()
        to_driver, to_task = message_macs(
            self._address.secret, await read_line(reader, _SILENT, LONGEST_GREETING), tasks
        )
        writer.write(tasks + to_driver.sign({"attempt": self._attempt.name, "part": self._attempt.part}))
        return to_driver, to_task

    def ask(self) -> None:
        """Ask, and again in a while."""
        if self._timer is not None:
            self._timer.cancel()
        if self._send is not None:
            self._send(self._task_session.make_question())
            self._timer = asyncio.get_running_loop().call_later(_BEAT, self.ask)
