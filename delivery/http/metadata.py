"""Whether the instance metadata service may still give credentials that it has not given.

botocore does not tell a machine without such a service from one whose service is slow or asked too often: in both cases
it finds no credentials. Here the service is asked once more, and what it does is looked at.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from botocore.awsrequest import AWSRequest
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)
from botocore.httpsession import URLLib3Session
from botocore.session import Session
from botocore.utils import InstanceMetadataFetcher, get_environ_proxies, resolve_imds_endpoint_mode

_TOKEN: Final = "latest/api/token"  # noqa: S105 - a path
_ROLE: Final = "latest/meta-data/iam/security-credentials/"
_HAS_NONE: Final = frozenset({400, 401, 403, 404, 405})
"""Of answers, those by which a metadata service says that it gives no credentials: no role, or switched off."""
_SYSTEM: Final = Path("/sys")


def find_silence(session: Session) -> str | None:
    """Say how the instance metadata service keeps its credentials back; None where there is none, or it has none.

    Blocks for some seconds at the most.
    """
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "false").lower() == "true":
        return None
    given = session.get_config_variable("ec2_metadata_service_endpoint")
    mode = resolve_imds_endpoint_mode(session)
    config = {"ec2_metadata_service_endpoint": given, "ec2_metadata_service_endpoint_mode": mode}
    url = InstanceMetadataFetcher(config=config).get_base_url().rstrip("/")
    seconds = session.get_config_variable("metadata_service_timeout")
    http = URLLib3Session(timeout=seconds, proxies=get_environ_proxies(url))
    try:
        token = _ask(http, "PUT", f"{url}/{_TOKEN}", {"x-aws-ec2-metadata-token-ttl-seconds": "60"})
        if token is None or isinstance(token, int):
            return _keeps_back(token)
        role = _ask(http, "GET", f"{url}/{_ROLE}", {"x-aws-ec2-metadata-token": token})
        return _keeps_back(role if isinstance(role, int) else None)
    except ReadTimeoutError:
        return "does not answer in time"
    except (ConnectTimeoutError, EndpointConnectionError):
        return "cannot be reached" if given or is_ec2() else None
    except HTTPClientError:
        return "breaks off its answers"
    finally:
        http.close()


def is_ec2(system: Path = _SYSTEM) -> bool:
    """Whether this machine is one of Amazon's, as its hardware says; a container shows its host's."""
    return any(
        _read(system / path).lower().startswith(sign)
        for path, sign in (("class/dmi/id/sys_vendor", "amazon ec2"), ("hypervisor/uuid", "ec2"))
    )


def _keeps_back(status: int | None) -> str | None:
    """Judge what was answered in place of credentials: a status; None for what would be right."""
    if status in _HAS_NONE:
        return None
    return "has answered just now" if status is None else f"answers {status}"


def _ask(http: URLLib3Session, method: str, url: str, headers: dict[str, str]) -> str | int | None:
    """Ask once: the text of a good answer, else its status; None where a good answer is empty."""
    answer = http.send(AWSRequest(method=method, url=url, headers=headers).prepare())
    return answer.text.strip() or None if answer.status_code == 200 else int(answer.status_code)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
