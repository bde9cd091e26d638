"""Why credentials are missing: the setting, whether the fault is temporary, and a message without secrets.

botocore raises any error of its chain, often without the part of the chain: an IndexError for an empty
command, a JSONDecodeError for a command that prints no JSON. The traceback shows the part.
"""

from __future__ import annotations

import errno
import subprocess
import traceback
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from botocore.credentials import CredentialProvider
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, InvalidConfigError
from botocore.parsers import ResponseParserError

from delivery.model import Response
from delivery.responses import ResponseMeaning, interpret_response

_T = TypeVar("_T")

_SETTINGS: Final = {
    "assume-role": "role_arn",
    "assume-role-with-web-identity": "AWS_WEB_IDENTITY_TOKEN_FILE (web_identity_token_file)",
    "config-file": "the AWS config file",
    "container-role": "AWS_CONTAINER_CREDENTIALS_FULL_URI or AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "custom-process": "credential_process",
    "env": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN",
    "iam-role": "the instance metadata service",
    "shared-credentials-file": "the AWS credentials file",
    "sso": "the profile's sso_ settings",
}
"""The setting, by botocore's name for the part of its chain that reads it."""
_REMOTE: Final = frozenset({"container-role", "iam-role", "sso"})
"""Parts that ask a service on a network, whose answer can be different the next time."""
_WRONG_PATH: Final = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENOEXEC, errno.ELOOP}
)
"""Errors of the system that mean a wrong path. Any other, e.g. too many processes, is temporary."""
_NO_OUTPUT: Final = 'its command prints no JSON object with "Version": 1, "AccessKeyId" and "SecretAccessKey"'

_NO_KEYS: Final = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"


def explain(error: Exception, method: str | None) -> BotoCoreError:
    """Say why credentials are missing: a CredentialRetrievalError if the fault is temporary, otherwise another error.

    Args:
        error: the error of botocore.
        method: botocore's name of the source; None if none was found yet.
    """
    provider = _last(error, CredentialProvider)
    method = method or (None if provider is None else provider.METHOD)
    place = _SETTINGS.get(method or "", "the AWS settings")
    if isinstance(error, OSError):
        return _explain_os_error(error, place)
    process: subprocess.Popen[bytes] | None = _last(error, subprocess.Popen)
    if process is not None:
        return _explain_command(error, place, getattr(process, "returncode", None))
    if isinstance(error, ClientError):
        return _refused(error)
    if isinstance(error, BotoCoreError):
        is_unset = isinstance(error, CredentialRetrievalError) and error.kwargs.get("provider") == "Environment"
        return _wrong("credential_source = Environment", _NO_KEYS) if is_unset else error
    return _explain_other(error, place, may_pass=method in _REMOTE)


def _explain_command(error: Exception, place: str, status: int | None) -> BotoCoreError:
    """Say what is wrong with a command, without its output: it may hold secrets, even on standard error."""
    if status is None:  # it has not started
        return _wrong(place, "its command is empty" if isinstance(error, IndexError) else str(error))
    return _wrong(place, _NO_OUTPUT) if status == 0 else _silent(place, f"its command ends with exit status {status}")


def _explain_other(error: Exception, place: str, *, may_pass: bool) -> BotoCoreError:
    if isinstance(error, ValueError):
        return _wrong(place, str(error))
    if may_pass or isinstance(error, ResponseParserError | RuntimeError | MemoryError):
        return _silent(place, type(error).__name__)
    return _wrong(place, f"botocore cannot use it ({type(error).__name__})")


def _explain_os_error(error: OSError, place: str) -> BotoCoreError:
    if error.errno not in _WRONG_PATH:
        return _silent(place, f"{type(error).__name__} {error.strerror or ''}".strip())
    return _wrong(place, f"{error.strerror}: {error.filename!r}")


def _refused(error: ClientError) -> BotoCoreError:
    """Distinguish a busy or failing STS from one that refuses. Its message may name users, so it is left out."""
    code, status = error.response["Error"].get("Code"), error.response["ResponseMetadata"].get("HTTPStatusCode")
    if (
        interpret_response(Response(status, code)) in {ResponseMeaning.FAULT, ResponseMeaning.THROTTLED}
        or code == "IDPCommunicationError"
    ):
        return _silent(f"AWS STS ({error.operation_name})", f"answers {code}")
    return InvalidConfigError(error_msg=f"AWS refuses {error.operation_name}: {code}")


def _silent(source: str, what: str) -> CredentialRetrievalError:
    return CredentialRetrievalError(provider=source, error_msg=what)


def _wrong(place: str, what: str) -> InvalidConfigError:
    return InvalidConfigError(error_msg=f"{place}: {what}")


def _last(error: BaseException, kind: type[_T]) -> _T | None:
    """Find the innermost object of a type that was active when an error occurred."""
    found = [value for value in _locals(error) if isinstance(value, kind)]
    return found[-1] if found else None


def _locals(error: BaseException) -> Iterator[Any]:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        yield from frame.f_locals.values()
