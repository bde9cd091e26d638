"""The files that `--input` stands for, listed before anything is read and held against what Spark finds."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import NO_UTF8, FileSystem, literal
from jobs.spark_internals.catalyst import input_file_uris
from jobs.spark_internals.hadoop import FileStatus
from transforms.mapping.model import Source

ARCHIVES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".7z", ".rar", ".xz")
"""What Spark would read as if it were text."""
_WEB: Final = ("http://", "https://")
FILE_FILTERS: Final = frozenset({"pathglobfilter", "modifiedbefore", "modifiedafter"})
"""Options by which a user has Spark leave files out."""
_MOST_FAULTS: Final = 20
"""More lines than this hide each other."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What `--input` stands for.

    Attributes:
        paths: files and folders, as Spark takes them.
        files: every file that is to be read, by path; none is empty.
        wide: the files of JSON that are UTF-16 or UTF-32, though the mapping does not say so.
    """

    paths: list[str]
    files: list[str]
    wide: frozenset[str] = frozenset()


class _Folder(NamedTuple):
    """A folder of the driver's disk that is still to be listed."""

    path: str
    real: str
    above: frozenset[str]


def find_inputs(files: FileSystem, inputs: Sequence[str]) -> Inputs:
    """List every file that the inputs stand for.

    A folder stands for all files below it. Files and folders whose names begin with `_` or `.` are skipped, as every
    Hadoop reader does, and counted. So are files of no bytes, which some stores keep in place of folders.

    Raises:
        ConfigurationError: one line for each input that is not there, and for each file that could not be read.
    """
    search = _Search(files)
    for path in inputs:
        search.look_up(path)
    distinct = list(dict.fromkeys(search.found))
    is_repeated = len(distinct) < len(search.found)
    paths = distinct if is_repeated else search.roots
    search.refuse_colons_in_globs(paths)
    if search.faults:
        raise ConfigurationError(*first_of(search.faults))
    if search.skipped:
        log.info("--input: %d names that begin with _ or . are skipped", search.skipped)
    if search.empty:
        log.info("--input: %d files of 0 bytes are skipped", search.empty)
    if not search.found:
        log.warning("--input: no file is left to read")
    else:
        for path in search.without_files:
            log.warning("--input %s: no file of it is left to read", escape_path(path))
    if is_repeated:
        log.info("--input: %d files are named more than once: each is read once", len(search.found) - len(distinct))
    return Inputs([literal(path) for path in paths], distinct)


def file_filters(source: Source) -> dict[str, str]:
    """Take those options that choose files, which hold whatever the reader."""
    return {key: value for key, value in source.options.items() if key.lower() in FILE_FILTERS}


def choose_files(spark: SparkSession, inputs: Inputs, source: Source) -> Inputs:
    """Leave out the files that a mapping's options leave out, by Spark's own rules, and log how many they are."""
    filters = file_filters(source)
    if not filters or not inputs.files:
        return inputs
    listed = spark.read.options(**filters).option("recursiveFileLookup", "true").text(inputs.paths)
    seen = set(map(_path_of, input_file_uris(listed)))
    chosen = [path for path in inputs.files if path in seen]
    if len(chosen) == len(inputs.files):
        return inputs
    log.info("--input: %d files are left out by [source] options", len(inputs.files) - len(chosen))
    if not chosen:
        log.warning("--input: no file is left to read")
    return Inputs([literal(path) for path in chosen], chosen)


def require_all_found(frame: DataFrame, inputs: Inputs) -> None:
    """Hold the files that Spark is about to read against those that were listed.

    Args:
        frame: what Spark's reader gives.
        inputs: what was listed.

    Raises:
        ConfigurationError: a file would be left out, or came in the meantime.
    """
    uris = input_file_uris(frame)
    if len(uris) == len(inputs.files):
        return
    seen = {path for path in map(_path_of, uris) if not is_hidden(path.rpartition("/")[2])}
    missing = [path for path in inputs.files if path not in seen]
    faults = [f"--input {escape_path(path)}: it exists, but Spark does not find it: name it alone" for path in missing]
    faults += [
        f"--input {escape_path(path)}: appeared while the files were listed: run again when all files have arrived"
        for path in sorted(seen.difference(inputs.files))
    ]
    if faults:
        raise ConfigurationError(*first_of(faults))


def first_of(faults: Sequence[str]) -> list[str]:
    """Keep the first lines of many, and say how many more there are."""
    more = len(faults) - _MOST_FAULTS
    return [*faults[:_MOST_FAULTS], *([f"--input: and {more} more of this kind"] if more > 0 else [])]


def is_hidden(name: str) -> bool:
    """Whether Hadoop's readers skip a file or folder because of its name.

    Examples:
        >>> [is_hidden(name) for name in ("_SUCCESS", ".part.crc", "_day=1", "log.json", "log._COPYING_")]
        [True, True, False, False, True]
    """
    return (name.startswith("_") and "=" not in name) or name.startswith(".") or name.endswith("._COPYING_")


def escape_path(path: str) -> str:
    """Write a path for a message: without the scheme of local files, and with escapes for bytes that are no text."""
    return path.removeprefix("file:").encode("utf-8", "backslashreplace").decode()


def _path_of(uri: str) -> str:
    path = unquote(str(uri))
    return f"file:/{path.removeprefix('file:').lstrip('/')}" if path.startswith("file:") else path


class _Search:
    """Lists inputs, noting each fault instead of stopping at the first."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files
        self._utf8 = files.writes_utf8_names()
        self.roots: list[str] = []
        self.found: list[str] = []
        self.without_files: list[str] = []
        self.skipped = 0
        self.empty = 0
        self.faults: list[str] = []

    def look_up(self, given: str) -> None:
        before, found_before = self.skipped, len(self.found)
        if given.startswith(_WEB):
            self._note(given, "Spark cannot read addresses of the web: download the file, or name it on a store")
            return
        try:
            local = self._files.local_path(given)
            any_match = self._look_up_remote(given) if local is None else self._look_up_local(local)
        except OSError as error:
            self._note(given, _explain_lookup(error))
            return
        if any_match:
            if len(self.found) == found_before:
                self.without_files.append(given)
            return
        if self.skipped > before:
            self._note(given, "there is nothing there but names that begin with _ or .")
        elif self._utf8 or not ("?" in given or "\ufffd" in given):
            self._note(given, "there is nothing there")
        else:
            self._note(given, f"there is nothing there; if the path has letters beyond ASCII: {NO_UTF8}")

    def _look_up_remote(self, given: str) -> bool:
        status = self._files.status(given)
        any_match = False
        for match in [status] if status else self._remote_matches(given):
            name = match.path.rpartition("/")[2]
            if is_hidden(name) and not (status and match.is_folder):
                self._skip_or_refuse(match.path, named=status is not None)
                any_match |= status is not None
                continue
            any_match = True
            with self._root(match.path):
                for file in self._files.files_below(match.path) if match.is_folder else [match]:
                    below = file.path[len(match.path) :].strip("/").split("/")
                    if match.is_folder and any(map(is_hidden, below)):
                        self.skipped += 1
                    else:
                        self._take(file.path, file.size)
        return any_match

    @contextmanager
    def _root(self, path: str) -> Iterator[None]:
        """Have Spark list what the block finds; where some of it is to be left out, name each file instead."""
        found_before, empty_before = len(self.found), self.empty
        yield
        self.roots += [path] if self.empty == empty_before else self.found[found_before:]

    def _remote_matches(self, pattern: str) -> list[FileStatus]:
        """List what a glob stands for: Hadoop's own fails on names with colons, which stores allow."""
        store, path = self._files.split_path(pattern)
        found: dict[str, FileStatus] = {}
        for components in self._files.glob_components(path):
            places: dict[str, FileStatus | None] = {store: None}
            for component in filter(None, components):
                wanted = self._files.glob_pattern(component)
                if wanted is None:
                    places = {f"{place}/{_without_escapes(component)}": None for place in places}
                    continue
                listed = [one for place in places for one in self._files.statuses(f"{place}/")]
                places = {one.path: one for one in listed if wanted.fullmatch(one.path.rpartition("/")[2])}
            for place, known in places.items():
                if status := known or self._files.status(place):
                    found[status.path] = status
        return [found[path] for path in sorted(found)]

    def _look_up_local(self, path: str) -> bool:
        # Python lists what is there; Java passes over a name that it cannot write, and over a link that points nowhere.
        named = os.path.lexists(path)
        any_match = False
        for match in [path] if named else self._local_matches(path):
            if is_hidden(os.path.basename(match)) and not (named and os.path.isdir(match)):
                self._skip_or_refuse(match, named=named)
                any_match |= named
                continue
            any_match = True
            with self._root(f"file:{match}"):
                self._walk(match)
        return any_match

    def _local_matches(self, pattern: str) -> list[str]:
        found: set[str] = set()
        for components in self._files.glob_components(pattern):
            places = ["/"]
            for component in filter(None, components):
                places = list(self._step(places, component))
            found.update(places)
        return sorted(found)

    def _step(self, places: Iterable[str], component: str) -> Iterator[str]:
        wanted = self._files.glob_pattern(component)
        for place in places:
            if wanted is None:
                path = os.path.join(place, _without_escapes(component))
                yield from [path] if os.path.lexists(path) else []
            elif os.path.isdir(place):
                yield from (os.path.join(place, name) for name in os.listdir(place) if wanted.fullmatch(name))

    def _walk(self, root: str) -> None:
        waiting: list[_Folder] = []
        self._take_local(root, None, waiting)
        while waiting:
            folder = waiting.pop()
            for name in sorted(os.listdir(folder.path)):
                if is_hidden(name):
                    self.skipped += 1
                else:
                    self._take_local(os.path.join(folder.path, name), folder, waiting)

    def _take_local(self, path: str, folder: _Folder | None, waiting: list[_Folder]) -> None:
        if problem := self._problem_of_name(path):
            self._note(path, problem)
            return
        try:
            status = os.stat(path)
        except OSError as error:
            where = "is a link that points nowhere" if os.path.islink(path) else f"cannot be looked up ({error})"
            self._note(path, where)
            return
        if stat.S_ISDIR(status.st_mode):
            real, above = os.path.realpath(path), folder.above if folder else frozenset()
            if real in above:
                self._note(path, "is a link to a folder that it lies in")
            elif not os.access(path, os.R_OK | os.X_OK):
                self._note(path, "may not be read")
            else:
                waiting.append(_Folder(path, real, above | {real}))
        elif not stat.S_ISREG(status.st_mode):
            self._note(path, "is neither a file nor a folder")
        elif ":" in os.path.basename(path):
            self._note(path, "its name holds a colon, and Hadoop cannot read such a file on a local disk: rename it")
        elif not os.access(path, os.R_OK):
            self._note(path, "may not be read")
        else:
            self._take(f"file:{path}", status.st_size)

    def _problem_of_name(self, path: str) -> str | None:
        if path.isascii():
            return None
        try:
            path.encode()
        except UnicodeEncodeError:
            return "its name is not UTF-8, so Java cannot open it: rename it"
        return None if self._utf8 else NO_UTF8

    def _skip_or_refuse(self, path: str, *, named: bool) -> None:
        if named:
            self._note(path, "names that begin with _ or . are not read: rename it")
        else:
            self.skipped += 1

    def _take(self, path: str, size: int) -> None:
        if path.lower().endswith(ARCHIVES):
            self._note(path, "is an archive, which Spark cannot read: unpack it, or pack it as .gz")
        elif size == 0:
            self.empty += 1
        else:
            self.found.append(path)

    def refuse_colons_in_globs(self, paths: Iterable[str]) -> None:
        """Refuse what Spark takes for a glob, because characters in it look like one, where Hadoop's globs fail."""
        for path in paths:
            if path != literal(path) and ":" in path.partition(":/")[2]:
                both = r"its path holds a colon and one of []{}*?\, and Hadoop reads no path with both: rename it"
                self._note(path, both)

    def _note(self, path: str, problem: str) -> None:
        self.faults.append(f"--input {escape_path(path)}: {problem}")


def _explain_lookup(error: OSError) -> str:
    """Say why nobody could look up what an input stands for."""
    if "Relative path in absolute URI" in str(error):
        return "a name of it holds a colon, before which Hadoop expects a scheme: write the absolute path"
    return f"cannot be looked up ({error})"


def _without_escapes(component: str) -> str:
    """Take a component of a glob that has no wildcard for the name that it stands for."""
    return "".join(part for part in component.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\"))
