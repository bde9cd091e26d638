"""A task's connection to its driver: it is authenticated, and opened again when it breaks."""

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
"""Seconds without an answer after which the connection counts as broken; a lease lasts longer."""
_AGAIN: Final = 0.3
"""Seconds before the next attempt to connect."""
_NEVER: Final = 15.0
"""Seconds after which a task gives up a driver that it never reached."""
_LOST: Final = 30.0
"""Seconds after which a task gives up a driver that it lost."""
_GOODBYE: Final = 10.0
"""Seconds in which the last outcomes must arrive."""


class DriverNotReachedError(Exception):
    """The task never reached the driver, so it sent nothing."""


@dataclass(frozen=True, slots=True)
class TaskAttempt:
    """One attempt of Spark at a part.

    Attributes:
        name: unique.
        part: its number.
    """

    name: str
    part: int


class TaskConnection:
    """Brings the questions of a task to the driver, and the answers back.

    Args:
        address: of the driver.
        attempt: this attempt.
        task_session: makes the questions and takes the answers.
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
        """Where to connect: after the first success, always to the same address. With several addresses, Python 3.11
        does not say that each has refused."""
        self._reached = False
        self._last_answer = clock()
        self._send: Callable[[Message], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def hold(self) -> None:
        """Keep the connection until the task has ended and the driver knows everything, or cannot be reached.

        Raises:
            DriverNotReachedError: the driver was never reached.
        """
        while not self._is_over():
            try:
                await self._converse()
            except ConnectionRefusedError:
                if self._reached:  # nobody listens at the driver's port: it is dead, and calls now would be repeated
                    self._task_session.give_up()
                await asyncio.sleep(_AGAIN)
            except (ConnectionError, ChannelError):
                self._task_session.handle_hang_up()
                await asyncio.sleep(_AGAIN)
            except (OSError, TimeoutError):
                await asyncio.sleep(_AGAIN)

    def leave(self, *, complete: bool) -> None:
        """Report that the task makes no more calls, and whether its part is complete."""
        self._task_session.leave(complete=complete)
        self._last_answer = self._clock()
        self.ask()

    def _is_over(self) -> bool:
        """Whether there is nothing more to report, or no driver to report it to."""
        silent = self._clock() - self._last_answer
        if self._task_session.leaving:
            return self._task_session.over or silent > _GOODBYE
        if not self._reached and silent > _NEVER:
            raise DriverNotReachedError(f"the driver was not reached at {self._address.host}:{self._address.port}")
        if silent > _LOST:
            self._task_session.give_up()
        return False

    async def _converse(self) -> None:
        """Send questions until the driver knows everything or the connection breaks."""
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
        """Send a question, and another after a pause."""
        if self._timer is not None:
            self._timer.cancel()
        if self._send is not None:
            self._send(self._task_session.make_question())
            self._timer = asyncio.get_running_loop().call_later(_BEAT, self.ask)
