"""What files hold, by their first bytes: Spark reads bytes of another kind as lines, or finds none, without a word.

A file whose name has no ending of a codec is read as it is. So gzip under another name becomes lines of bytes, and
plain text that is called `.bz2` becomes no line at all.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.reading.inputs import escape_path, first_of
from jobs.reading.json_framing import framing_fault
from jobs.reading.read_causes import cause_in_words
from transforms.mapping.model import LINE_ENCODINGS, Source, encoding_of, is_wide

log = logging.getLogger(__name__)

START: Final = 512
"""Bytes that are looked at: a tar archive says what it is behind byte 257."""
_JSON_START: Final = 16 * 1024
"""The same for JSON, whose first value says how the others stand in the file."""
_MOST_FOLDED: Final = 20
_AT_ONCE: Final = 32
"""Files that are opened at the same time: a store far away takes its time for each."""
_LARGEST_BLOCK: Final = 2**28
"""Bytes; Hadoop's blocks are of 256 KiB unless somebody has set another size."""
_END_OF_BZIP2: Final = 0x177245385090
"""What stands before the checksum at the end of a bzip2 stream, at any bit."""
_END_LENGTH: Final = 11
"""Bytes that hold these 48 bits, the checksum of 32, and up to 7 bits that fill the last byte."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of file.

    Attributes:
        name: for messages.
        sign: what its first bytes match.
        needs_binary: whether text may begin with the same bytes, so that bytes which no text has must follow.
    """

    name: str
    sign: re.Pattern[bytes]
    needs_binary: bool = False


_GZIP, _BZIP2, _ZSTD, _ZLIB = "gzip", "bzip2", "Zstandard", "zlib"
_LZ4, _SNAPPY = "LZ4 frames", "Snappy frames"
_ENDINGS: Final = {_GZIP: ".gz", _BZIP2: ".bz2", _ZSTD: ".zst", _ZLIB: ".deflate"}
"""By which names Hadoop unpacks what the tools of these names have packed."""
_KINDS: Final = (
    _Kind(_GZIP, re.compile(rb"\x1f\x8b\x08")),
    _Kind(_BZIP2, re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")),
    _Kind(_ZSTD, re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")),
    _Kind(_LZ4, re.compile(rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18")),
    _Kind(_SNAPPY, re.compile(rb"\xff\x06\x00\x00sNaPpY")),
    _Kind(_ZLIB, re.compile(rb"x[\x01\x9c\xda]"), needs_binary=True),
    _Kind("xz", re.compile(rb"\xfd7zXZ\x00")),
    _Kind("lzop", re.compile(rb"\x89LZO\x00")),
    _Kind("compress", re.compile(rb"\x1f[\x9d\xa0]")),
    _Kind("a zip archive", re.compile(rb"PK(\x03\x04|\x05\x06|\x07\x08)")),
    _Kind("a 7z archive", re.compile(rb"7z\xbc\xaf\x27\x1c")),
    _Kind("a rar archive", re.compile(rb"Rar!\x1a\x07")),
    _Kind("a tar archive", re.compile(rb"(?s).{257}ustar[\x00 ]")),
    _Kind("Parquet", re.compile(rb"PAR[1E]"), needs_binary=True),
    _Kind("ORC", re.compile(rb"ORC"), needs_binary=True),
    _Kind("Avro", re.compile(rb"(?s)Obj\x01.*avro\.")),
    _Kind("a Hadoop sequence file", re.compile(rb"SEQ[\x00-\x06]")),
    _Kind("UTF-32LE", re.compile(rb"(?s)\xff\xfe\x00\x00|([^\x00]\x00\x00\x00){4}")),
    _Kind("UTF-32BE", re.compile(rb"(?s)\x00\x00\xfe\xff|(\x00\x00\x00[^\x00]){4}")),
    _Kind("UTF-16LE", re.compile(rb"(?s)\xff\xfe|([^\x00]\x00){4}")),
    _Kind("UTF-16BE", re.compile(rb"(?s)\xfe\xff|(\x00[^\x00]){4}")),
)
_MAGIC: Final = {"parquet": (b"PAR1", b"PARE"), "orc": (b"ORC",), "avro": (b"Obj\x01",)}
"""What files of columnar formats begin and end with; behind ORC's last one stands a byte more."""
_NAMES: Final = {"parquet": "Parquet", "orc": "ORC", "avro": "Avro"}
_NO_TEXT: Final = re.compile(rb"[\x00\x04-\x08\x0e-\x1a\x1c-\x1f]")
"""Bytes that no line of text holds; the first three after 0 are Hive's separators."""
_CODECS: Final = {
    "GzipCodec": _GZIP,
    "BZip2Codec": _BZIP2,
    "ZStandardCodec": _ZSTD,
    "DefaultCodec": _ZLIB,
    "DeflateCodec": _ZLIB,
}
"""What each of Hadoop's codecs unpacks, by its class; those that pack in blocks of Hadoop's own are not among them."""
_BLOCK_CODECS: Final = frozenset({"Lz4Codec", "SnappyCodec"})


def kind_of(start: bytes) -> str | None:
    """Name what a file is by its first bytes; None where it may be text in an encoding that has ASCII's bytes.

    Examples:
        >>> kind_of(bytes.fromhex("1f8b0800")), kind_of(b"PAR1\\x15\\x04"), kind_of(b"PAR1,view\\n")
        ('gzip', 'Parquet', None)
        >>> kind_of('{"who":"a"}'.encode("utf-16")), kind_of('{"who":"a"}'.encode("utf-16-be")), kind_of(b"")
        ('UTF-16LE', 'UTF-16BE', None)
    """
    for kind in _KINDS:
        if (found := kind.sign.match(start)) and (not kind.needs_binary or _NO_TEXT.search(start, found.end())):
            return kind.name
    return None


def check_contents(files: FileSystem, paths: Sequence[str], source: Source) -> frozenset[str]:
    """Hold the first bytes of each file of lines against its name and the mapping.

    Each file is opened once, many at the same time; a compressed one once more, to see that Spark can unpack it.

    Args:
        files: opens them.
        paths: of the files; none is empty.
        source: the mapping's; its format is one of lines.

    Returns:
        The files of JSON that are UTF-16 or UTF-32, though the mapping does not say so: their start shows it.

    Raises:
        ConfigurationError: a file is not what Spark would take it for; one line each.
    """
    check = _Contents(files, source)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        problems = list((pool.map if len(paths) > 2 else map)(check.problem, paths))
    if 2 * len(check.folded) >= len(paths):
        problems = [check.folded.get(path, problem) for path, problem in zip(paths, problems, strict=True)]
    found = zip(paths, problems, strict=True)
    faults = [f"--input {escape_path(path)}: {problem}" for path, problem in found if problem]
    if faults:
        raise ConfigurationError(*first_of(faults))
    for path, problem in sorted(check.folded.items())[:_MOST_FOLDED]:
        log.warning("--input %s: %s; as it is, each of its lines is a malformed record", escape_path(path), problem)
    if check.without_content:
        log.info("--input: %d files hold nothing once they are unpacked", len(check.without_content))
    return frozenset(check.wide)


def check_columnar(files: FileSystem, paths: Sequence[str], source: Source) -> None:
    """Find the files that are not of a columnar format, or not whole, where Spark could not read all of them.

    Raises:
        ConfigurationError: there are some; one line each.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        problems = list(pool.map(lambda path: problem_of_file(files, path, source), paths))
    found = zip(paths, problems, strict=True)
    faults = [f"--input {escape_path(path)}: {problem}" for path, problem in found if problem]
    if faults:
        raise ConfigurationError(*first_of(faults))


def problem_of_file(files: FileSystem, path: str, source: Source) -> str | None:
    """Say why a file cannot be read as a mapping's format, by its first and last bytes; None where they are right."""
    if source.format not in _MAGIC:
        return _Contents(files, source).problem(path)
    try:
        start, end = files.read_start(path, START, decompressed=False), files.read_end(path, 16)
    except OSError as error:
        return f"cannot be read: {cause_in_words(str(error)) or error}"
    kind, wanted = kind_of(start), _NAMES[source.format]
    magic = _MAGIC[source.format]
    end = end[:-1] if source.format == "orc" else end
    if not start.startswith(magic):
        other = _in_words(kind, start) if kind or not _NO_TEXT.search(start) else "of another kind"
        return f"is {other}, and the mapping's format is {wanted}: give {wanted} files, or set another [source] format"
    if source.format != "avro" and not end.endswith(magic):
        return f"does not end as {wanted} does, so it is torn: copy it again"
    return None


class _Contents:
    """Judges files, each on its own: several threads may ask."""

    def __init__(self, files: FileSystem, source: Source) -> None:
        self._files = files
        self._source = source
        self._size = _JSON_START if source.format == "json" else START
        self.without_content: list[str] = []
        self.wide: list[str] = []
        # Objects over several lines: each line is counted as a malformed record, so a few such files end no build.
        self.folded: dict[str, str] = {}

    def problem(self, path: str) -> str | None:
        """Say why Spark would not read a file rightly, and what to do; None where it would."""
        try:
            codec = self._files.codec_of(path)
            if codec is None:
                return next(self._problems_of_lines(path, self._start(path)), None)
            return next(self._problems_of_packed(path, codec), None)
        except OSError as error:
            return f"cannot be read: {cause_in_words(str(error)) or error}"

    def _start(self, path: str) -> bytes:
        if path.startswith("file:/"):  # many times as fast as Java
            with Path(path.removeprefix("file:")).open("rb") as file:
                return file.read(self._size)
        return self._files.read_start(path, self._size, decompressed=False)

    def _problems_of_packed(self, path: str, codec: str) -> Iterator[str]:
        """Find problems of a compressed file; those behind the first need not be any."""
        ending = path[path.rindex(".") :]
        start = self._start(path)
        kind = kind_of(start)
        packed = _CODECS.get(codec)
        if packed is not None and kind != packed and not (packed == _ZLIB and _is_zlib(start)):
            yield f"its name ends in {ending}, but it is {_in_words(kind, start)}: {_mend_of_name(kind)}"
        if codec in _BLOCK_CODECS and not _has_blocks(start):
            if kind is None and not _NO_TEXT.search(start):
                yield f"its name ends in {ending}, but it is plain text: {_mend_of_name(None)}"
            yield "is not in Hadoop's blocks, so Spark would find nothing in it: pack it as .gz"
        if packed == _BZIP2 and not _ends_as_bzip2(self._files.read_end(path, _END_LENGTH)):
            yield (
                "does not end where its last bzip2 stream does, so it is torn, or more was written behind it, which "
                "Spark would not find: pack it anew"
            )
        try:
            content = self._files.read_start(path, self._size)
        except OSError as error:
            is_native = "native" in str(error)
            yield (
                f"this Hadoop has no library that unpacks {ending}: pack it as .gz"
                if is_native
                else (f"is {kind or 'packed'}, but cannot be unpacked: {cause_in_words(str(error)) or error}")
            )
            return
        if not content:
            self.without_content.append(path)
        inner = kind_of(content)
        if inner in _ENDINGS or (inner or "").startswith("a "):
            yield f"holds {inner} within {kind or ending}: unpack it once"
        yield from self._problems_of_lines(path, content)

    def _problems_of_lines(self, path: str, start: bytes) -> Iterator[str]:
        kind, wanted = kind_of(start), self._source.format
        encoding = encoding_of(self._source.options)
        if wanted == "json" and (kind is None or kind.startswith("UTF-")):
            yield from self._problems_of_framing(path, start.decode(kind or "utf-8", "ignore"), len(start))
        if kind is None:
            if is_wide(encoding) and wanted == "csv" and start and start.isascii() and not _NO_TEXT.search(start):
                yield f"is not {encoding.upper()}, as [source] options encoding says"
        elif kind.startswith("UTF-"):
            if wanted == "json" and LINE_ENCODINGS.get(encoding) == "UTF-8":
                self.wide.append(path)
            elif not is_wide(encoding):
                yield _mend_of_encoding(kind, wanted)
        elif kind in _ENDINGS:
            yield f"is {kind}, but its name does not end in {_ENDINGS[kind]}: rename it, because Spark goes by names"
        elif kind in _NAMES.values():
            yield f'is {kind}, and the mapping\'s format is {wanted}: set [source] format = "{kind.lower()}"'
        elif kind.endswith("archive"):
            yield f"is {kind}, which Spark cannot read: unpack it, or pack it as .gz"
        else:
            yield f"is {kind}, which Spark cannot read as {wanted}: convert it, or pack it as .gz"

    def _problems_of_framing(self, path: str, start: str, size: int) -> Iterator[str]:
        problem = framing_fault(start, self._source.framing, is_whole=size < self._size)
        if problem and self._source.framing == "lines" and problem.endswith('"document"'):
            self.folded[path] = problem
        elif problem:
            yield problem


def _mend_of_encoding(kind: str, wanted: str) -> str:
    if wanted == "text":
        return f"is {kind}: text is read as UTF-8: convert it"
    return f'is {kind}, which the mapping does not say: set encoding = "{kind}" in [source] options'


def _in_words(kind: str | None, start: bytes) -> str:
    if kind is not None:
        return kind
    return "of no kind that Spark can unpack" if _NO_TEXT.search(start) else "plain text"


def _mend_of_name(kind: str | None) -> str:
    if kind in _ENDINGS:
        return f"rename it to end in {_ENDINGS[kind]}"
    return "rename it" if kind is None else "pack it as .gz, or give the file that it was made of"


def _is_zlib(start: bytes) -> bool:
    """Whether bytes begin as zlib's do: the method, and a checksum of the first two bytes.

    Examples:
        >>> _is_zlib(bytes.fromhex("785e")), _is_zlib(b'{"'), _is_zlib(b"x")
        (True, False, False)
    """
    return len(start) > 1 and start[0] & 15 == 8 and int.from_bytes(start[:2]) % 31 == 0


def _has_blocks(start: bytes) -> bool:
    """Whether a file begins as Hadoop's packed files do: with the sizes of a block, as it was and as it is packed.

    Examples:
        >>> [_has_blocks(bytes.fromhex(start)) for start in ("", "00000000", "0004000000001f3a", "04224d1864a70801")]
        [True, True, True, False]
    """
    sizes = (int.from_bytes(start[:4]), int.from_bytes(start[4:8]))
    return start in (b"", bytes(4)) or (len(start) >= 8 and max(sizes) <= _LARGEST_BLOCK)


def _ends_as_bzip2(end: bytes) -> bool:
    """Whether a file's last bytes are the end of a bzip2 stream, which may begin at any bit.

    Examples:
        >>> import bz2
        >>> packed = bz2.compress(b"a line\\n")
        >>> _ends_as_bzip2(packed[-11:]), _ends_as_bzip2((packed + b"more\\n")[-11:]), _ends_as_bzip2(packed[:-1][-11:])
        (True, False, False)
    """
    bits = int.from_bytes(end)
    return any(
        bits & ((1 << filler) - 1) == 0 and bits >> (filler + 32) & (2**48 - 1) == _END_OF_BZIP2 for filler in range(8)
    )
