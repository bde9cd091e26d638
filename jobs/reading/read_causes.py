"""Why a file cannot be read: Java's words, and those for who has to mend it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class _Cause(NamedTuple):
    """Why a file cannot be read.

    Attributes:
        sign: found in Java's words.
        words: what is wrong, and what to do.
    """

    sign: re.Pattern[str]
    words: str


_CAUSES: Final = (
    _Cause(
        re.compile(r"ChecksumException|Checksum error|Not a checksum file"),
        "the .crc file beside it is of other bytes: if the file is whole, delete that one; otherwise copy both again",
    ),
    _Cause(
        re.compile(r"Relative path in absolute URI"),
        "a name in its path holds a colon, which Hadoop cannot read here: rename it",
    ),
    _Cause(
        re.compile(r"FileNotFoundException|NoSuchFileException|No such file or directory|FILE_NOT_EXIST"),
        "it was there when the files were listed, and is gone: run again when no file is moved any more",
    ),
    _Cause(
        re.compile(r"UnknownHostException|ConnectException|Connection refused|NoRouteToHost|SocketTimeoutException"),
        "its host does not answer: check the address and the network",
    ),
    _Cause(
        re.compile(r"Permission denied|AccessControlException|AccessDeniedException|\b403\b"),
        "the user of the run may not read it: give the right to read",
    ),
    _Cause(
        re.compile(r"ArithmeticException: long overflow|IllegalArgumentException: nanos > 999999999"),
        "a time in it lies beyond all that Spark can read, some 290,000 years from now: take it out",
    ),
    _Cause(
        re.compile(r"MALFORMED_CSV_RECORD|TextParsingException|MalformedCSVRecord"),
        "a record of it is longer than Spark's reader of CSV takes: set maxColumns in [source] options, or mend it",
    ),
)
_DAMAGED: Final = re.compile(
    r"EOFException|[Uu]nexpected end|ZipException|not a gzip|is not a Parquet file|Malformed ORC|corrupt"
    r"|bad block header|incorrect (header|data) check|invalid (block|stored|distance|code|bit)"
    r"|CRC mismatch|LZ4Exception|SnappyError"
)
IS_DAMAGED: Final = "it is damaged or cut short: copy it again"


def cause_in_words(text: str) -> str | None:
    """Find the cause in an error of Java's: what is wrong, and what to do; None where it is none of those known.

    Examples:
        >>> cause_in_words("java.net.ConnectException: Connection refused")
        'its host does not answer: check the address and the network'
        >>> cause_in_words("java.io.EOFException: Unexpected end of input stream")
        'it is damaged or cut short: copy it again'
    """
    known = next((cause.words for cause in _CAUSES if cause.sign.search(text)), None)
    return known or (IS_DAMAGED if _DAMAGED.search(text) else None)
