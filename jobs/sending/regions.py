"""Whether a region exists: a mistyped one has no endpoint, and no other run would find one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from difflib import get_close_matches
from typing import Final
from urllib.parse import urlsplit

from botocore.session import Session

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
        f"{hint} Set it by --region, AWS_DEFAULT_REGION or the profile"
    )


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
