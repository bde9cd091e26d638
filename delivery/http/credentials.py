"""The credentials that sign calls: found as boto3 finds them, and renewed while calls continue.

botocore finds no credentials if a machine has no metadata service, and also if that service is slow or throttles.
So this module asks the service once more, and its response distinguishes the cases.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from botocore.awsrequest import AWSRequest
from botocore.credentials import AssumeRoleProvider, Credentials
from botocore.exceptions import (
    BotoCoreError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidConfigError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.httpsession import URLLib3Session
from botocore.session import Session
from botocore.utils import InstanceMetadataFetcher, get_environ_proxies, resolve_imds_endpoint_mode

from delivery.http.background import SingleFlight
from delivery.http.credential_faults import explain
from delivery.model import Response
from delivery.responses import ResponseMeaning, SourceSilentError, interpret_response


def _leave_cause_out(record: logging.LogRecord) -> bool:
    """Leave out why a refresh failed: botocore logs it with the output of a credential_process."""
    record.exc_info = None
    return True


logging.getLogger("botocore.credentials").addFilter(_leave_cause_out)


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys that sign a call.

    Attributes:
        accessKeyId: printable ASCII without blanks.
        secretAccessKey: any text.
        sessionToken: as accessKeyId; None for keys that do not expire.

    Raises:
        ValueError: one of them is not valid. The message does not quote it.
    """

    accessKeyId: str = field(repr=False)
    secretAccessKey: str = field(repr=False)
    sessionToken: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, value in {"access key id": self.accessKeyId, "session token": self.sessionToken or "-"}.items():
            if not value.isascii() or not value.isprintable() or " " in value or not value:
                raise ValueError(f"the {name} is empty, or has a forbidden character, e.g. a line break")


def find_credentials(session: Session) -> Credentials:
    """Find credentials in the default chain, and check that they can sign calls.

    Blocks, and may use the network if their source does.

    Raises:
        NoCredentialsError: the chain has no source of them.
        CredentialRetrievalError: it has a source that does not give them now, and may do so later.
        BotoCoreError: somebody must correct the configuration first.
    """
    credentials = None
    try:
        _check_numbers(session)
        _refuse_codes(session)
        credentials = session.get_credentials()
        if credentials is not None:
            freeze(credentials)
    except Exception as error:  # botocore's own, and any other error of its chain
        raise explain(error, getattr(credentials, "method", None)) from None
    if credentials is not None:
        return credentials
    silence = find_silence(session)
    if silence is None:
        raise NoCredentialsError
    raise CredentialRetrievalError(provider="the instance metadata service", error_msg=silence)


def may_come(error: BotoCoreError) -> bool:
    """Whether the reason for missing credentials is temporary."""
    return interpret_response(Response(None, type(error).__name__)) is not ResponseMeaning.STOP


def _check_numbers(session: Session) -> None:
    for name in ("metadata_service_timeout", "metadata_service_num_attempts"):
        try:
            session.get_config_variable(name)
        except ValueError:
            raise InvalidConfigError(error_msg=f"AWS_{name.upper()} ({name}): not a whole number") from None


def _refuse_codes(session: Session) -> None:
    """Refuse a role that asks for a code, because nobody can type one for a task; botocore would prompt for it."""
    provider: Any = session.get_component("credential_provider").get_provider(AssumeRoleProvider.METHOD)
    provider._prompter = _refuse_code  # its own constructor takes a prompter, but the chain's does not


def _refuse_code(_prompt: str) -> NoReturn:
    raise InvalidConfigError(
        error_msg="mfa_serial: the profile's role asks for a code, which a job cannot type; "
        "use a role without it, or the keys of a session (aws sts get-session-token)"
    )


def freeze(credentials: Credentials) -> SigningKeys:
    """Return the present keys; if they expire soon, refresh them first, which blocks.

    Raises:
        Exception: the error of their source, if they cannot be refreshed.
    """
    frozen = credentials.get_frozen_credentials()
    return SigningKeys(frozen.access_key or "", frozen.secret_key or "", frozen.token)


_LOOK_AGAIN: Final = 10.0
"""Seconds. botocore refreshes keys in the 15 minutes before they expire."""


class RefreshingKeys:
    """Holds the keys that sign calls. It belongs to one event loop, but may be built anywhere.

    Args:
        credentials: botocore's; they refresh themselves when they are asked.
        find: finds new credentials; blocks.
        clock: seconds, monotonic.

    Raises:
        Exception: the error of the source of the credentials.
    """

    def __init__(self, credentials: Credentials, find: Callable[[], Credentials], clock: Callable[[], float]) -> None:
        self._credentials = credentials
        self._keys = freeze(credentials)
        self._clock = clock
        self._look_at = clock() + _LOOK_AGAIN
        self._look = SingleFlight(lambda: _frozen(self._credentials))
        self._search = SingleFlight(lambda: _frozen(find()))
        self._looking: asyncio.Task[None] | None = None

    def keys(self) -> SigningKeys:
        """Return the keys for a call now; from time to time, start a search for fresher ones."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + _LOOK_AGAIN
            self._looking = asyncio.get_running_loop().create_task(self._refresh())
        return self._keys

    async def renew(self) -> bool:
        """Find new credentials; say whether they differ from those in use.

        Raises:
            SourceSilentError: their source, which gave some before, gave none.
        """
        before = self._keys
        try:
            self._take(*await self._search.result())
        except Exception as error:
            raise SourceSilentError(type(error).__name__) from None
        return self._keys != before

    def close(self) -> None:
        """Stop waiting for a source of credentials."""
        self._look.cancel()
        self._search.cancel()

    async def _refresh(self) -> None:
        with suppress(Exception):  # botocore logs it, and the present keys may be valid for minutes
            credentials, keys = await self._look.result()
            if credentials is self._credentials:  # otherwise they were renewed meanwhile
                self._take(credentials, keys)

    def _take(self, credentials: Credentials, keys: SigningKeys) -> None:
        self._credentials = credentials
        if keys != self._keys:
            self._keys = keys


def _frozen(credentials: Credentials) -> tuple[Credentials, SigningKeys]:
    return credentials, freeze(credentials)


_TOKEN: Final = "latest/api/token"  # noqa: S105 - a path
_ROLE: Final = "latest/meta-data/iam/security-credentials/"
_HAS_NONE: Final = frozenset({400, 401, 403, 404, 405})
"""Answers by which a metadata service says that it has no credentials: no role, or switched off."""
_SYSTEM: Final = Path("/sys")


def find_silence(session: Session) -> str | None:
    """Say why the instance metadata service gives no credentials; None if there is no service, or it has none.

    Blocks for a few seconds at most.
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
    """Whether this machine is Amazon's, by its hardware; a container shows that of its host."""
    return any(
        _read(system / path).lower().startswith(sign)
        for path, sign in (("class/dmi/id/sys_vendor", "amazon ec2"), ("hypervisor/uuid", "ec2"))
    )


def _keeps_back(status: int | None) -> str | None:
    """Judge an answer without credentials: its status, or None for a correct answer."""
    if status in _HAS_NONE:
        return None
    return "has answered just now" if status is None else f"answers {status}"


def _ask(http: URLLib3Session, method: str, url: str, headers: dict[str, str]) -> str | int | None:
    """Ask once: return the text of a good answer, otherwise its status; None if a good answer is empty."""
    answer = http.send(AWSRequest(method=method, url=url, headers=headers).prepare())
    return answer.text.strip() or None if answer.status_code == 200 else int(answer.status_code)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
