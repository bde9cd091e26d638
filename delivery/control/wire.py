"""Plain messages between a task and the driver, each sealed: one JSON object a line, with its place and a MAC.

Who connects proves by its first message that it knows the delivery's secret, which Spark brought to it with the task;
the driver proves it by the answer. A message that was changed, left out, repeated or sent to another connection does
not open. Messages are not encrypted: they hold what Spark's own shuffle carries.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

Message = dict[str, Any]

LONGEST_LINE: Final = 4 * 1024 * 1024
"""Bytes. The longest messages tell outcomes, 256 Ki characters at once, of which JSON makes up to 12 bytes each."""
LONGEST_GREETING: Final = 1024
"""Bytes. Before a task has proved that it knows the secret, nothing longer is listened to."""
_MAC: Final = 64
_NONCE: Final = 16


@dataclass(frozen=True, slots=True)
class DriverAddress:
    """How a task reaches the driver.

    Attributes:
        host: as the executors know it.
        port: TCP.
        secret: of this delivery alone; Spark brings it to the tasks as it brings their code.
    """

    host: str
    port: int
    secret: str = field(repr=False)


class ChannelError(Exception):
    """The other end is not who it should be, or a message did not arrive as it was sent."""


class MessageMac:
    """Seals the messages of one direction of one connection, or opens them.

    Examples:
        >>> line = MessageMac(b"key").sign({"rate": 2.5})
        >>> MessageMac(b"key").verify(line)
        {'rate': 2.5}
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._number = 0

    def sign(self, message: Message) -> bytes:
        """Write a message as a line."""
        return self._signed(json.dumps(message, separators=(",", ":")).encode())

    def verify(self, line: bytes) -> Message:
        """Read a line as a message.

        Raises:
            ChannelError: it is not the next one that the other end sealed.
        """
        text = line[_MAC + 1 : -1]
        if not hmac.compare_digest(self._signed(text), line):
            raise ChannelError("a message bears no valid seal")
        message: Message = json.loads(text)
        return message

    def _signed(self, text: bytes) -> bytes:
        self._number += 1
        mac = hmac.digest(self._key, b"%d %b" % (self._number, text), "sha256")
        return b"%b %b\n" % (mac.hex().encode(), text)


async def read_line(reader: asyncio.StreamReader, silent: float, longest: int = LONGEST_LINE) -> bytes:
    """Read a line, for as long as it comes on.

    Args:
        reader: of the connection.
        silent: seconds in which the line, or the next piece of a long one, must have come.
        longest: bytes.

    Raises:
        TimeoutError: the other end is silent.
        ChannelError: it has hung up, or says more than a line may hold.
    """
    line, pieces, room = b"", [], longest
    while not line.endswith(b"\n"):
        async with asyncio.timeout(silent):
            line = await _piece(reader)
        pieces.append(line)
        room -= len(line)
        if room < 0:
            raise ChannelError("the other end says more than a line may hold")
    return b"".join(pieces)


async def _piece(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as there_is_more:
        return await reader.readexactly(there_is_more.consumed)
    except asyncio.IncompleteReadError:
        raise ChannelError("the other end has hung up") from None


def nonce() -> bytes:
    """Draw what a connection starts with, as a line, in either direction."""
    return secrets.token_bytes(_NONCE).hex().encode() + b"\n"


def message_macs(secret: str, drivers: bytes, tasks: bytes) -> tuple[MessageMac, MessageMac]:
    """Make the seals of a connection.

    Args:
        secret: the delivery's.
        drivers: the driver's nonce.
        tasks: the task's nonce.

    Returns:
        That of messages to the driver, that of messages to the task.

    Raises:
        ChannelError: one of them is no nonce.
    """
    if any(len(each) != 2 * _NONCE + 1 for each in (drivers, tasks)):
        raise ChannelError("the other end does not speak as a delivery does")
    return MessageMac(_key(secret, b"driver", drivers + tasks)), MessageMac(_key(secret, b"task", drivers + tasks))


def _key(secret: str, to: bytes, nonces: bytes) -> bytes:
    return hmac.digest(secret.encode(), hashlib.sha256(to + b"\n" + nonces).digest(), "sha256")
