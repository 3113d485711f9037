"""Zip and tar archives: what is in one is listed, and read entry by entry. Each is opened once a process."""

from __future__ import annotations

import bz2
import errno
import functools
import gzip
import io
import lzma
import posixpath
import shutil
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from gen.data.decode import DamagedError
from gen.data.raw import File
from gen.results.storage import Storage, one_line

BUFFER = 4 << 20  # bytes read ahead from an archive on object storage: its entries lie one behind the other
OPEN = 8  # archives that a process keeps open: the shards of a set are read one behind the other
BLOCK = 512  # bytes of a tar's blocks; empty ones are its end
HEAD = 512  # bytes that tell what a file is
MAGIC = {  # how a file begins -> what it is
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"PAR1": "parquet",
    b"\x93NUMPY": "npy",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"Rar!": "rar",
    b"7z\xbc\xaf": "7z",
    b"\x89HDF": "hdf5",
}
PACKED: Mapping[str, Callable[[BinaryIO], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
AWAY = {  # what the system says where not the file is at fault but the way to it: a share of a network, this process
    *(errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNRESET, errno.ECONNREFUSED, errno.EHOSTUNREACH),
    *(errno.ENETUNREACH, errno.ENETDOWN, errno.ENODEV, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
}
UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    UnicodeDecodeError,
    EOFError,
    lzma.LZMAError,
    zlib.error,
    tokenize.TokenError,  # by NumPy, of the header of an array
)

Stamp = tuple[int, ...]
"""Size and time of change of a file."""


class AwayError(ValueError):
    """A place that does not answer, whose images may be sound: what reads it ends, where it would leave out a damaged
    image. Its text is one line, for users."""


@contextmanager
def answering(storage: Storage) -> Iterator[None]:
    """Turns what a place raises in the block because it does not answer into an AwayError. That a file is not there,
    or may not be read, is an answer."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        raise
    except OSError as error:
        if storage.is_local and error.errno not in AWAY:
            raise
        raise AwayError(
            f"{storage} cannot be read now ({one_line(error)}); no image was left out for it: submit the same again "
            f"when it can"
        ) from None


class Stream(io.RawIOBase):
    """A file of an object store, to be read at any place. AwayError where the store does not answer: the readers of
    archives and tables take an OSError for damage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        with answering(storage):
            self.file: Any = storage.filesystem.open_input_file(storage.full(""))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self.file.tell())

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        return int(self.file.seek(place, whence))

    def readinto(self, buffer: Any) -> int:
        with answering(self.storage):
            return int(self.file.readinto(buffer))

    def close(self) -> None:
        self.file.close()
        super().close()


def kind_of(storage: Storage) -> str:
    """What a file is, told by how it begins: a kind of `MAGIC`, "tar", or "" for another."""
    with open_stream(storage) as stream:
        head = stream.read(HEAD)
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for mark, kind in MAGIC.items() if head.startswith(mark)), "")


def open_stream(storage: Storage) -> BinaryIO:
    """A file, local or of object storage, to be read at any place."""
    if storage.is_local:
        return Path(storage.place).open("rb")
    return io.BufferedReader(Stream(storage), BUFFER)


def refuse_torn(storage: Storage, kind: str, error: BaseException) -> ValueError:
    """The error for an archive that is cut or overwritten."""
    return ValueError(f"{storage} is not a whole {kind} ({one_line(error).rstrip('.')}); fetch or make it again")


@functools.lru_cache(maxsize=OPEN)
def open_zip(place: str, stamp: Stamp) -> zipfile.ZipFile:
    """A zip archive; its table of half a million entries takes seconds. ValueError if it is none or is damaged."""
    storage = Storage(place)
    try:
        return zipfile.ZipFile(open_stream(storage))
    except UNREADABLE as error:
        raise refuse_torn(storage, "zip archive", error) from None


@functools.lru_cache(maxsize=OPEN)
def open_tar(place: str, stamp: Stamp) -> tuple[tarfile.TarFile, Mapping[str, tarfile.TarInfo]]:
    """A tar archive and its files by their names, those that links lead to by the links' names too. ValueError if it is
    none or is damaged."""
    storage = Storage(place)
    try:
        archive = tarfile.TarFile(fileobj=open_stream(storage))
        entries = {
            info.name.removeprefix("./"): info for info in archive if info.isreg() or info.islnk() or info.issym()
        }
    except UNREADABLE as error:
        raise refuse_torn(storage, "tar archive", error) from None
    end = max((info.offset_data + info.size for info in archive if info.isreg() and not info.sparse), default=0)
    if end + BLOCK > stamp[0]:  # cut between two files, it would look whole
        raise refuse_torn(storage, "tar archive", EOFError("it has no end mark"))
    for name, info in entries.items():
        if not info.isreg():
            folder = posixpath.dirname(name) if info.issym() else ""
            entries[name] = entries.get(posixpath.normpath(posixpath.join(folder, info.linkname)), info)
    return archive, entries


def list_zip(place: str, stamp: Stamp) -> tuple[list[File], list[str]]:
    """The files of a zip archive, of several with one name the last, which is the one that is read; and its folders."""
    entries = open_zip(place, stamp).infolist()
    files = {info.filename: File(info.filename, info.file_size, info.CRC) for info in entries if not info.is_dir()}
    return list(files.values()), [info.filename.rstrip("/") for info in entries if info.is_dir()]


def list_tar(place: str, stamp: Stamp) -> tuple[list[File], list[str]]:
    """The files of a tar archive, and its folders. A tar has no checksums: its own date stamps its files."""
    archive, entries = open_tar(place, stamp)
    folders = [info.name.removeprefix("./") for info in archive if info.isdir() and info.name != "."]
    return [File(name, info.size, stamp[-1] + info.offset) for name, info in entries.items()], folders


def read_zip(place: str, stamp: Stamp) -> Callable[[str], bytes]:
    """A function from the name of an entry of a zip archive to its content."""
    return open_zip(place, stamp).read


def read_tar(place: str, stamp: Stamp) -> Callable[[str], bytes]:
    """A function from the name of a file of a tar archive to its content."""
    archive, entries = open_tar(place, stamp)

    def read(name: str) -> bytes:
        if name not in entries or not entries[name].isreg():  # a link to nothing
            raise FileNotFoundError(name)
        found = archive.extractfile(entries[name])
        data = found.read() if found else b""
        if len(data) != entries[name].size:
            raise DamagedError("the archive ends within it")
        return data

    return read


def check_names(storage: Storage, files: Sequence[File]) -> None:
    """ValueError if a name points outside of an archive, or has backslashes between its folders."""
    for file in files:
        path = file.name.replace("\\", "/")  # as text: half a million Path objects take seconds
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{storage} is refused: its entry {file.name!r} points outside of the archive")
        if "\\" in file.name:
            raise ValueError(f"{storage} has the entry {file.name!r}, with \\ between folders; pack it anew, with /")


def unpack_tar(storage: Storage, kind: str, scratch: Path) -> str:
    """The path of a compressed tar archive (gzip, bzip2, xz), as a plain one in the scratch folder: of a compressed one
    no file can be read without those before it. ValueError if it is damaged, or compressed and no archive."""
    path = scratch / "archive.tar"
    try:
        with open_stream(storage) as packed, PACKED[kind](packed) as stream, path.open("wb") as out:
            shutil.copyfileobj(stream, out, BUFFER)
    except (*UNREADABLE, gzip.BadGzipFile, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # a disk that is full, not a file that is cut
            raise
        raise refuse_torn(storage, f"{kind} file", error) from None
    if kind_of(Storage(str(path))) != "tar":
        raise ValueError(
            f"{storage} is compressed by {kind} and holds no tar archive; unpack it, and name what it holds"
        )
    return str(path)
