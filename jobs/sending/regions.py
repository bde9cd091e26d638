"""Whether a region exists: a mistyped one has no endpoint, and no other run would find one."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from difflib import get_close_matches
from typing import Final
from urllib.parse import urlsplit

from botocore.session import Session

_REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+")
_SET_BY: Final = "Set it by --region, AWS_DEFAULT_REGION or the profile"
_SERVICE: Final = "personalize"
"""As botocore's data name the service's regions; they name none of personalize-events itself."""


def check_region(session: Session, region: str, url: str, resolves: Callable[[str], bool] | None = None) -> str | None:
    """Say what is wrong with a region.

    One that this botocore does not know may be newer than it: its endpoint's name has an address then. Of a region that
    is known nothing is asked: where its name has no address, the network is at fault, which may heal.

    Args:
        session: whose botocore's data count.
        region: its name.
        url: of the endpoint that boto3 makes of it, or that somebody gave in its place.
        resolves: says whether a host's name has an address; None for the system's own way.

    Returns:
        None where nothing is wrong, or where the region only signs.
    """
    host = urlsplit(url).hostname or ""
    if f".{region}." not in host or region in (known := known_regions(session)):
        return None
    if (resolves or has_address)(host):
        return None
    meant = get_close_matches(region, sorted(known), 1)
    hint = f"did you mean {meant[0]}?" if meant else f"choose one of {', '.join(sorted(known))}."
    return (
        f"region {region}: Amazon Personalize is not known to be there, and its endpoint has no address ({url}): "
        f"{hint} {_SET_BY}"
    )


def check_spelling(region: str) -> str | None:
    """Say what is wrong with a region that differs from a region's name in letters' case, blanks and underscores alone.

    No region is called so, whatever the endpoint: calls would be signed for one that does not exist.

    Examples:
        >>> check_spelling("EU-WEST-1")
        'region EU-WEST-1: did you mean eu-west-1? Set it by --region, AWS_DEFAULT_REGION or the profile'
        >>> check_spelling("eu-west-1"), check_spelling("Local")
        (None, None)
    """
    spelt = re.sub(r"[\s_-]+", "-", region.strip()).lower()
    if spelt == region or not _REGION.fullmatch(spelt):
        return None
    return f"region {region}: did you mean {spelt}? {_SET_BY}"


def known_regions(session: Session) -> set[str]:
    """List the regions of the service, in all partitions."""
    return {
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions(_SERVICE, partition)
    }


def has_address(host: str) -> bool:
    """Ask the system whether a host's name has an address."""
    try:
        return bool(socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return False
