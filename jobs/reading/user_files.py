"""Small files that users write, mappings and thresholds: read as text, their faults told a line each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from jobs.errors import ConfigurationError
from transforms.mapping import Fault


def read_user_file(option: str, path: str) -> str:
    """Read a file that an option names, as UTF-8; an editor's byte order mark is no part of it.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{option} {path}: cannot be read as UTF-8 text ({error})") from None


def faulty(name: str, faults: Iterable[Fault]) -> ConfigurationError:
    """Tell the faults of a file, in the order of its lines."""
    return ConfigurationError(*[fault.describe(name) for fault in sorted(faults, key=lambda fault: fault.line)])
