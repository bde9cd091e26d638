"""Where a key stands in a TOML text: tomllib does not tell."""

from __future__ import annotations

import re
import tomllib

_TABLE = re.compile(r"^\s*\[\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"^\s*(\"[^\"]*\"|'[^']*'|[A-Za-z0-9_.-]+)\s*=")


def syntax_line(error: tomllib.TOMLDecodeError) -> int:
    """Find the line (1-based) that an error of syntax names; 0 where it names none."""
    line = re.search(r"at line (\d+)", str(error))
    return int(line.group(1)) if line else 0


class TomlPlaces:
    """Line numbers (1-based) of the tables and keys of a TOML text.

    Examples:
        >>> places = TomlPlaces("[event]\\nsentAt = 'ts'\\n\\n[event.properties]\\ndevice = 'ua'\\n")
        >>> places.line("event", "sentAt"), places.line("event.properties", "device"), places.line("event", "")
        (2, 5, 1)
        >>> places.line("event", "itemId"), places.line("record", "where")
        (1, 0)
    """

    def __init__(self, text: str, base: TomlPlaces | None = None) -> None:
        """Find the lines of a text.

        Args:
            text: TOML.
            base: those of the file that this one extends: a key that stands there alone has no line here.
        """
        self._base = base
        self._lines: dict[tuple[str, str], int] = {}
        table = ""
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _TABLE.match(line):
                table = _plain(header.group(1))
                self._lines.setdefault((table, ""), number)
            elif key := _KEY.match(line):
                self._note(table, _plain(key.group(1)), number)

    def line(self, table: str, key: str) -> int:
        """Find the line of a key, else of its table, else 0."""
        own_table = f"{table}.{key}" if table else key
        known = self._lines
        return known.get((table, key)) or known.get((own_table, "")) or known.get((table, "")) or 0

    def is_inherited(self, table: str, key: str) -> bool:
        """Whether a key comes from the file that this one extends.

        Examples:
            >>> base = TomlPlaces("[event]\\nsentAt = 'ts'\\nitemId = 'sku'\\n")
            >>> places = TomlPlaces("extends = 'base'\\n[event]\\nitemId = 'id'\\n", base)
            >>> places.is_inherited("event", "sentAt"), places.is_inherited("event", "itemId")
            (True, False)
        """
        return not self._has_own_key(table, key) and self._base is not None and self._base.has_key(table, key)

    def has_key(self, table: str, key: str) -> bool:
        """Whether a key stands in this file, or in one that it extends."""
        return self._has_own_key(table, key) or (self._base is not None and self._base.has_key(table, key))

    def _has_own_key(self, table: str, key: str) -> bool:
        own_table = f"{table}.{key}" if table else key
        return (table, key) in self._lines or (own_table, "") in self._lines

    def _note(self, table: str, key: str, number: int) -> None:
        self._lines.setdefault((table, key), number)
        if "." in key:  # a dotted key opens its table on the way
            inner, _, last = key.rpartition(".")
            self._lines.setdefault((f"{table}.{inner}" if table else inner, last), number)


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))
