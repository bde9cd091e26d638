"""What calls are signed with, found as boto3 finds it."""

from __future__ import annotations

from dataclasses import dataclass, field

from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, CredentialRetrievalError, InvalidConfigError, NoCredentialsError
from botocore.session import Session


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
        BotoCoreError: there are none, or they cannot be got or used.
    """
    try:
        credentials = session.get_credentials()
        if credentials is not None:
            freeze(credentials)
    except BotoCoreError:
        raise
    except ValueError as error:
        raise InvalidConfigError(error_msg=str(error)) from None
    except Exception as error:  # of whatever the source is: STS, a command of the user's, a file with a token
        message = f"{type(error).__name__}: {error}"
        raise CredentialRetrievalError(provider="the default chain", error_msg=message) from None
    if credentials is None:
        raise NoCredentialsError
    return credentials


def freeze(credentials: Credentials) -> Keys:
    """Return the keys as they are now; refreshes them first, and blocks, when their time has come.

    Raises:
        Exception: whatever their source raises when they cannot be refreshed.
    """
    frozen = credentials.get_frozen_credentials()
    return Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token)
