"""Files on a local path or on object storage, each put in place whole: tables, checkpoints and caches."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from gen.results.conditional import LARGEST, Conditional
from gen.results.exchange import exchange
from gen.results.fence import Fence
from gen.results.leftovers import all_abandoned, hidden_name, remove_abandoned, sweep
from gen.results.room import FullError, room_at

Names = list[str]
Infos = list[Any]
Stamp = tuple[int, int]
"""How a storage lists a file: its size in bytes, and the time of its last change in nanoseconds (0: not told)."""

HALF = re.compile(r"(file|s3|gs|gcs|hdfs|viewfs|abfss?|https?):(?!//)", re.IGNORECASE)  # the beginning of a URI
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
NO_HOME = "/nonexistent"  # the home of users who have none, by the custom of Debian
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
HASTE = 1.0  # seconds for which a store of Google's is tried when one asks whether it is there
LONGEST = 200  # characters of a name: file systems take 255, and files made from it have longer names


def check_name(kind: str, name: str) -> None:
    """ValueError unless `name` can be the name of a folder or a file, and of one that pandas does not skip."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{kind} {name!r} is not a name; allowed: letters, digits and . _ + - with a letter or digit first"
        )
    if len(name) > LONGEST:
        raise ValueError(f"{kind} {name[:20]}... has {len(name)} characters; allowed: at most {LONGEST}")


def is_name(text: str) -> bool:
    """Whether a text can be the name of a folder or a file here, and not a path."""
    return bool(NAME.fullmatch(text)) and len(text) <= LONGEST


def one_line(error: BaseException) -> str:
    """The first line of an error's text."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def local_path(text: str) -> Path:
    """The absolute path of a text that may begin with "~" or "~user". ValueError if there is no such user or home."""
    try:
        found = Path(text).expanduser().absolute()
    except RuntimeError:
        found = Path(NO_HOME)
    if text.startswith("~") and found.is_relative_to(NO_HOME):
        raise ValueError(f"{text} needs a home folder, and there is none; give an absolute path")
    return found


def check_place(place: str) -> None:
    """ValueError unless `place` is a path or a whole URI: half a URI would be a folder of that name, of no use."""
    want = "give a path or a URI like s3://bucket/prefix"
    if not place.strip() or "\0" in place:
        raise ValueError(f"place {place!r} is empty; {want}")
    if half := HALF.match(place):
        raise ValueError(f"a place that begins with {half[0]} but not with {half[0]}// is no URI; {want}")
    if URI.match(place) and place.lower().startswith("file:"):
        parts = urlsplit(place)
        path = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or path.startswith("/~") or not path.strip("/"):
            raise ValueError(
                f"place {place} is no folder of this machine; give a path, or a URI like file:///folder/folder"
            )


class Storage:
    """A folder, local or of an object store: all paths are relative to it, with "/" between their parts.

    `place` is a path or a URI of `pyarrow.fs.FileSystem.from_uri` (s3://bucket/prefix?endpoint_override=host:port).
    Picklable. Raises ValueError if the URI is not understood, OSError if a file cannot be read or written, LostError if
    one of an experiment is to be written or deleted whose lease, as the `fence` says, went to a later attempt.
    """

    def __init__(self, place: str, fence: Fence | None = None) -> None:
        check_place(place)
        self.fence = fence
        scheme = place.split("://")[0].lower() if URI.match(place) else "file"
        self.is_local = scheme == "file"
        if self.is_local:
            place = unquote(urlsplit(place).path) if URI.match(place) else str(local_path(place))
        self.place = place
        self._opened = self._open()  # a bad URI fails here, not at the first file

    def _open(self) -> tuple[Any, str]:
        if self.is_local:
            return fs.LocalFileSystem(), self.place
        uri = self.place
        if uri.lower().startswith("s3://") and "allow_delayed_open" not in uri:
            uri += ("&" if "?" in uri else "?") + "allow_delayed_open=true"  # one PUT instead of a multipart upload
        if not urlsplit(uri).netloc and not urlsplit(uri).path.strip("/"):
            raise ValueError(f"storage {self} names no bucket; give a path or a URI like s3://bucket/prefix")
        try:
            filesystem, root = fs.FileSystem.from_uri(uri)
        except ValueError as error:
            raise ValueError(
                f"storage {self} is not understood: {one_line(error)}; give a path or a URI like s3://bucket/prefix"
            ) from None
        except OSError as error:  # of S3, where a bucket's region is asked for, and of a library that is not there
            raise ValueError(f"storage {self} cannot be reached: {one_line(error)}") from None
        return filesystem, root.rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place, "fence": self.fence}  # file systems hold threads and sockets

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["place"], state["fence"])  # type: ignore[misc]

    def __str__(self) -> str:
        """The place, without secrets."""
        return re.sub(r"//[^/@]*@", "//", self.place.split("?")[0]) if not self.is_local else self.place

    def __repr__(self) -> str:
        return f"Storage({str(self)!r})"

    def behind(self, fence: Fence) -> Storage:
        """The same storage, written through a fence."""
        return Storage(self.place, fence)

    @property
    def filesystem(self) -> Any:
        """The pyarrow.fs.FileSystem that holds this storage."""
        return self._opened[0]

    def full(self, path: str) -> str:
        """The path of a file of this storage within `filesystem`."""
        return f"{self._opened[1]}/{path}" if path else self._opened[1]

    @cached_property
    def _root(self) -> Path:
        return Path(self.place)

    def put(self, path: str, data: bytes, blank: Callable[[], bytes] | None = None) -> None:
        """Makes `data` the content of `path`, whole or not at all, and durable once this returns.

        Local: written under a name that starts with a dot, synced, renamed. Object store: one PUT (large data: one
        multipart upload, completed at its end), under a condition if the fence puts one. FullError if there is no room
        for it. `blank`: gives a content that says nothing, and that no file had before; a new file has it for a moment
        where puts are conditional, and readers take it for the file before it was there.
        """
        with self.room(), self.answering():
            if self.is_local:
                put_local(self._root / path, data, self._passage(path))
            elif self.fence is not None and self.fence.conditions(path) and len(data) <= LARGEST:
                self.conditional.put(path, data, blank, partial(self.fence.check, self))
            else:
                with self._passage(path), self.filesystem.open_output_stream(self.full(path)) as stream:
                    stream.write(data)

    @cached_property
    def conditional(self) -> Conditional:
        """The conditional puts of this object store. ValueError, one line, if it has none that can be used here."""
        if self.is_local:
            raise ValueError("a path has locks")
        return Conditional(self.place, getattr(self.filesystem, "region", ""), self._opened[1])

    @property
    def is_conditional(self) -> bool:
        """Whether files of the fence's experiment are put under conditions."""
        return self.fence is not None and self.fence.conditional

    def _passage(self, path: str) -> AbstractContextManager[None]:
        """A block in which `path` is made visible or is deleted."""
        if self.fence is None or not self.fence.encloses(path):
            return nullcontext()
        return self.fence.passage(self, self._root if self.is_local else None)

    def room(self) -> AbstractContextManager[None]:
        """Turns whatever fails in a block for want of room here into a FullError, one line for users."""
        return room_at(str(self), self._root if self.is_local else None)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turns an error of pyarrow's own, as a store of Azure's has when it cannot be reached, into an OSError, one
        line with the place."""
        try:
            yield
        except pa.ArrowException as error:
            if isinstance(error, (ValueError, OSError)):
                raise
            raise OSError(f"storage {self} cannot be reached: {one_line(error)}") from None

    def get(self, path: str) -> bytes | None:
        """The content of `path`; None if it is not there."""
        try:
            if self.is_local:
                return (self._root / path).read_bytes()
            with self.answering(), self.filesystem.open_input_file(self.full(path)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def exists(self, path: str) -> bool:
        """Whether `path` is a file."""
        with self.answering():
            return bool(self.filesystem.get_file_info(self.full(path)).type == fs.FileType.File)

    def list(self, folder: str) -> Names:
        """Sorted names of the files directly in `folder`, without those that start with a dot; [] if it is absent."""
        return list(self.stamps(folder))

    def stamps(self, folder: str) -> dict[str, Stamp]:
        """As `list`, with what tells a file's content from a later one, unless both are of the same size and were put
        within what the storage takes for one moment: in an object store that is often a second."""
        return {info.base_name: (info.size, info.mtime_ns or 0) for info in self._infos(folder, fs.FileType.File)}

    def folders(self, folder: str) -> Names:
        """Sorted names of the folders directly in `folder`, without those that start with a dot; [] if it is absent."""
        return [info.base_name for info in self._infos(folder, fs.FileType.Directory)]

    def _infos(self, folder: str, kind: Any) -> Infos:
        selector = fs.FileSelector(self.full(folder), allow_not_found=True)
        try:
            with self.answering():
                found = self.filesystem.get_file_info(selector)
        except FileNotFoundError:  # it was made while one looked, and pyarrow does not take it for absent then
            return []
        here = [info for info in found if info.type == kind and not info.base_name.startswith(".")]
        return sorted(here, key=lambda info: info.base_name)

    def delete(self, path: str) -> None:
        """Removes the file; no error if it is absent."""
        with self._passage(path):
            if self.is_local:
                (self._root / path).unlink(missing_ok=True)
            elif self.exists(path):
                self.filesystem.delete_file(self.full(path))

    def delete_folder(self, folder: str) -> None:
        """Removes a folder with all that is in it; no error if it is absent."""
        if self.filesystem.get_file_info(self.full(folder)).type == fs.FileType.Directory:
            self.filesystem.delete_dir(self.full(folder))

    def exchange(self, one: str, other: str) -> None:
        """Gives each of two local folders the other's name in one step, durable once this returns."""
        with self._passage(one):
            exchange(self._root / one, self._root / other)
        for folder in (one, other):
            sync_folder((self._root / folder).parent)

    @contextmanager
    def passing(self, folder: str) -> Iterator[None]:
        """A folder that others make in the block, and that goes with all that is in it when the block ends."""
        try:
            yield
        finally:
            with suppress(OSError):  # what the block came to counts
                self.delete_folder(folder)

    def leftovers(self, folder: str) -> Names:
        """Half-written files of writers that were killed, in a folder and those below it; an object store has none."""
        root = self._root / folder
        return [str(path.relative_to(self._root)) for path in all_abandoned(root)] if self.is_local else []

    def remove_leftovers(self, folder: str) -> int:
        """Removes these; how many there were."""
        return remove_abandoned(self._root / folder) if self.is_local else 0

    def check_reachable(self) -> None:
        """ValueError, one line, if an object store of Google's does not answer within seconds: its library would try
        for minutes. Others give up by themselves."""
        if self.place.lower().startswith(("gs://", "gcs://")) and "retry_limit_seconds" not in self.place:
            hasty = Storage(f"{self.place}{'&' if '?' in self.place else '?'}retry_limit_seconds={HASTE:g}")
            try:
                hasty.exists("")
            except OSError as error:
                why = one_line(error).partition(" error_info=")[0]  # the rest says the same in other words
                raise ValueError(f"{self} cannot be reached: {why}") from None

    def check_possible(self) -> None:
        """ValueError, one line, if this is a local folder that cannot be made or written. Nothing is written."""
        above = self._root
        while self.is_local and not os.path.lexists(above) and above != above.parent:
            above = above.parent
        if self.is_local and not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
            why = "may not be written" if above.is_dir() else "is no folder"
            raise ValueError(f"storage {self} cannot be written: {above} {why}; give a folder that you may write to")

    def check_writable(self) -> None:
        """Writes, reads and deletes a small file. ValueError, one line, if that fails."""
        probe = f"_writable-{secrets.token_hex(6)}"
        try:
            self.put(probe, b"probe")
            if self.get(probe) != b"probe":
                raise OSError("a file just written does not read back")
            self.delete(probe)
        except FullError as error:
            raise ValueError(f"storage {error}") from None
        except OSError as error:
            raise ValueError(
                f"storage {self} cannot be written: {one_line(error)}; give a folder or bucket that you may write to"
            ) from None


def put_local(path: Path, data: bytes, passage: AbstractContextManager[None] | None = None) -> None:
    """Writes under a name of its own that starts with a dot, syncs, renames to `path` inside the block `passage`, and
    syncs the folder."""
    make_folder(path.parent)
    hidden = hidden_name(path)
    try:
        file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
            now = os.fstat(file).st_mtime
        finally:
            os.close(file)
        with passage or nullcontext():
            hidden.replace(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    sweep(path.parent, now)


def make_folder(folder: Path) -> None:
    """Makes the folder and its parents; each is durable before the next is made."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes new names of files in `folder` durable."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
