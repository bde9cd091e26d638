"""Which names and addresses of hosts can be looked up at all."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

_LABEL: Final = re.compile(rb"[A-Za-z0-9_-]{1,63}")
_LONGEST: Final = 253


def is_host(name: str) -> bool:
    """Whether a name can be looked up, or is an address. Anything else makes the look-up itself fail.

    Examples:
        >>> [is_host(name) for name in ("proxy.corp", "bücher.example", "10.0.0.1", "::1", "a_b.corp.")]
        [True, True, True, True, True]
        >>> [is_host(name) for name in ("proxy..corp", ".corp", "", "a b", "x" * 64)]
        [False, False, False, False, False]
    """
    try:
        ip_address(name)
    except ValueError:
        return _is_name(name)
    return True


def _is_name(name: str) -> bool:
    try:
        ascii_name = name.removesuffix(".").encode("idna")
    except UnicodeError:  # an empty or too long label, or characters that no name can have
        return False
    return len(ascii_name) <= _LONGEST and all(map(_LABEL.fullmatch, ascii_name.split(b".")))
