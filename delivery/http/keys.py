"""What calls are signed with, found as boto3 finds it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, NoReturn

from botocore.credentials import AssumeRoleProvider, Credentials
from botocore.exceptions import BotoCoreError, CredentialRetrievalError, InvalidConfigError, NoCredentialsError
from botocore.session import Session

from delivery.answers import Meaning, meaning
from delivery.http.credential_faults import explain
from delivery.http.metadata import find_silence
from delivery.records import Answer


def _leave_cause_out(record: logging.LogRecord) -> bool:
    """Leave out what made a refresh fail: botocore logs it with what a credential_process has printed."""
    record.exc_info = None
    return True


logging.getLogger("botocore.credentials").addFilter(_leave_cause_out)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a call is signed with.

    Attributes:
        accessKeyId: printable ASCII without blanks.
        secretAccessKey: any text.
        sessionToken: as accessKeyId; None for keys that do not expire.

    Raises:
        ValueError: one is not so. The message quotes none of it.
    """

    accessKeyId: str = field(repr=False)
    secretAccessKey: str = field(repr=False)
    sessionToken: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, value in {"access key id": self.accessKeyId, "session token": self.sessionToken or "-"}.items():
            if not value.isascii() or not value.isprintable() or " " in value or not value:
                raise ValueError(f"the {name} is empty, or holds a character that none can, e.g. a line break")


def find_credentials(session: Session) -> Credentials:
    """Find credentials by the default chain, and see that calls can be signed with them.

    Blocks, and may use the network, as their source wants it.

    Raises:
        NoCredentialsError: the chain has no source of them.
        CredentialRetrievalError: it has one, which does not give them now, and may do so later.
        BotoCoreError: they cannot be got, or used, until somebody mends the set-up.
    """
    credentials = None
    try:
        _check_numbers(session)
        _refuse_codes(session)
        credentials = session.get_credentials()
        if credentials is not None:
            freeze(credentials)
    except Exception as error:  # botocore's own, and whatever else comes up in its chain
        raise explain(error, getattr(credentials, "method", None)) from None
    if credentials is not None:
        return credentials
    silence = find_silence(session)
    if silence is None:
        raise NoCredentialsError
    raise CredentialRetrievalError(provider="the instance metadata service", error_msg=silence)


def may_come(error: BotoCoreError) -> bool:
    """Whether what kept credentials back may pass without anybody's doing."""
    return meaning(Answer(None, type(error).__name__)) is not Meaning.STOP


def _check_numbers(session: Session) -> None:
    for name in ("metadata_service_timeout", "metadata_service_num_attempts"):
        try:
            session.get_config_variable(name)
        except ValueError:
            raise InvalidConfigError(error_msg=f"AWS_{name.upper()} ({name}): not a whole number") from None


def _refuse_codes(session: Session) -> None:
    """Refuse a role that asks for a code: nobody types one for a task, or each hour; botocore would prompt for it."""
    provider: Any = session.get_component("credential_provider").get_provider(AssumeRoleProvider.METHOD)
    provider._prompter = _refuse_code  # its own constructor would take it, but not that of the chain


def _refuse_code(_prompt: str) -> NoReturn:
    raise InvalidConfigError(
        error_msg="mfa_serial: the profile's role asks for a code, which a job cannot type; "
        "use a role without it, or the keys of a session (aws sts get-session-token)"
    )


def freeze(credentials: Credentials) -> Keys:
    """Return the keys as they are now; refreshes them first, and blocks, when their time has come.

    Raises:
        Exception: whatever their source raises when they cannot be refreshed.
    """
    frozen = credentials.get_frozen_credentials()
    return Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token)
