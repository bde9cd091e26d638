"""Messages between a task and the driver: one JSON object a line, with its number and a MAC.

The task proves with its first message that it knows the secret of the delivery, which Spark brought with the task. The
driver proves it with the answer. A message that was changed, left out, repeated or sent on another connection is
rejected. Messages are not encrypted: they hold the same data as Spark's own shuffle.
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
"""Bytes. The longest messages hold outcomes: 256 Ki characters, and JSON uses up to 12 bytes for each."""
LONGEST_GREETING: Final = 1024
"""Bytes. A message before the proof of the secret must not be longer."""
_MAC: Final = 64
_NONCE: Final = 16


@dataclass(frozen=True, slots=True)
class DriverAddress:
    """How a task reaches the driver.

    Attributes:
        host: the driver's name for the executors.
        port: TCP.
        secret: of this delivery only; Spark brings it to the tasks as it brings their code.
    """

    host: str
    port: int
    secret: str = field(repr=False)


class ChannelError(Exception):
    """The other end does not know the secret, or a message arrived changed."""


class MessageMac:
    """Adds the MAC to messages of one direction of one connection, or checks it.

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
            ChannelError: it is not the next message of the other end.
        """
        text = line[_MAC + 1 : -1]
        if not hmac.compare_digest(self._signed(text), line):
            raise ChannelError("a message has no valid MAC")
        message: Message = json.loads(text)
        return message

    def _signed(self, text: bytes) -> bytes:
        self._number += 1
        mac = hmac.digest(self._key, b"%d %b" % (self._number, text), "sha256")
        return b"%b %b\n" % (mac.hex().encode(), text)


async def read_line(reader: asyncio.StreamReader, silent: float, longest: int = LONGEST_LINE) -> bytes:
    """Read a line, as long as pieces of it arrive.

    Args:
        reader: of the connection.
        silent: seconds in which the line, or the next piece of a long line, must arrive.
        longest: bytes.

    Raises:
        TimeoutError: the other end is silent.
        ChannelError: it has closed the connection, or the line is too long.
    """
    line, pieces, room = b"", [], longest
    while not line.endswith(b"\n"):
        async with asyncio.timeout(silent):
            line = await _piece(reader)
        pieces.append(line)
        room -= len(line)
        if room < 0:
            raise ChannelError("the other end sends a line that is too long")
    return b"".join(pieces)


async def _piece(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as there_is_more:
        return await reader.readexactly(there_is_more.consumed)
    except asyncio.IncompleteReadError:
        raise ChannelError("the other end has closed the connection") from None


def nonce() -> bytes:
    """Draw the nonce that starts a connection, as a line, in either direction."""
    return secrets.token_bytes(_NONCE).hex().encode() + b"\n"


def message_macs(secret: str, drivers: bytes, tasks: bytes) -> tuple[MessageMac, MessageMac]:
    """Make the two MACs of a connection.

    Args:
        secret: the delivery's.
        drivers: the driver's nonce.
        tasks: the task's nonce.

    Returns:
        The MAC of messages to the driver, and that of messages to the task.

    Raises:
        ChannelError: one of them is not a nonce.
    """
    if any(len(each) != 2 * _NONCE + 1 for each in (drivers, tasks)):
        raise ChannelError("the other end is not part of a delivery")
    return MessageMac(_key(secret, b"driver", drivers + tasks)), MessageMac(_key(secret, b"task", drivers + tasks))


def _key(secret: str, to: bytes, nonces: bytes) -> bytes:
    return hmac.digest(secret.encode(), hashlib.sha256(to + b"\n" + nonces).digest(), "sha256")
