"""What calls are signed with, found as boto3 finds it."""

from __future__ import annotations

from dataclasses import dataclass, field

from botocore.credentials import Credentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    InvalidConfigError,
    NoCredentialsError,
)
from botocore.session import Session

from delivery.answers import Meaning, meaning
from delivery.http.metadata import find_silence
from delivery.records import Answer


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
    try:
        credentials = session.get_credentials()
        if credentials is not None:
            freeze(credentials)
    except BotoCoreError:
        raise
    except (ValueError, OSError) as error:  # a token that cannot be read, a command that is not there
        raise InvalidConfigError(error_msg=str(error)) from None
    except ClientError as error:
        raise _refused(error) from None
    except Exception as error:
        raise _unready("the default chain", type(error).__name__) from None
    if credentials is not None:
        return credentials
    silence = find_silence(session)
    if silence is None:
        raise NoCredentialsError
    raise _unready("the instance metadata service", silence)


def may_come(error: BotoCoreError) -> bool:
    """Whether what kept credentials back may pass without anybody's doing."""
    return meaning(Answer(None, type(error).__name__)) is not Meaning.STOP


def _refused(error: ClientError) -> BotoCoreError:
    """Tell an STS that is busy or ill from one that says no. Its words may name users, so they are left out."""
    code, status = error.response["Error"].get("Code"), error.response["ResponseMetadata"].get("HTTPStatusCode")
    if meaning(Answer(status, code)) in {Meaning.FAULT, Meaning.THROTTLED} or code == "IDPCommunicationError":
        return _unready(f"AWS STS ({error.operation_name})", f"answers {code}")
    return InvalidConfigError(error_msg=f"AWS refuses {error.operation_name}: {code}")


def _unready(source: str, what: str) -> CredentialRetrievalError:
    return CredentialRetrievalError(provider=source, error_msg=what)


def freeze(credentials: Credentials) -> Keys:
    """Return the keys as they are now; refreshes them first, and blocks, when their time has come.

    Raises:
        Exception: whatever their source raises when they cannot be refreshed.
    """
    frozen = credentials.get_frozen_credentials()
    return Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token)
