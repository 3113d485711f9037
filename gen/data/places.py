"""Folders, zip archives and object storage as one thing: named files, listed and read. Nothing is ever unpacked."""

from __future__ import annotations

import functools
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from pyarrow import fs

from gen.data.decode import DamagedError
from gen.data.raw import File
from gen.results.storage import URI, Storage, check_place, local_path, one_line

GONE, CLOSED = "it is not there", "it may not be read"
OUT_OF_REACH = {GONE, CLOSED}  # why a file cannot be read although its image may be sound
BUFFER = 4 << 20  # bytes read ahead from an archive on object storage: its entries lie one behind the other


def normal(place: str) -> str:
    """A place as all processes and hosts understand it: an absolute path, or the URI."""
    check_place(place)
    return place if URI.match(place) else os.path.normpath(local_path(place))


def cache_folder(cache: str | None = None) -> Path:
    """The folder of caches: `cache`, else $GENFLEET_CACHE, else ~/.cache/genfleet. ValueError for a user without a home
    who names none."""
    found = cache or os.environ.get("GENFLEET_CACHE")
    try:
        return local_path(found or "~/.cache/genfleet")
    except ValueError as error:
        raise ValueError(f"cache folder {error}" if found else f"{error} of caches in $GENFLEET_CACHE") from None


def without_secrets(place: str) -> str:
    """A place for messages and tables: without the secrets that its URI may hold."""
    return str(Storage(place))


def title(place: str) -> str:
    """The last part of a place, without .zip: experiments and caches are called by it."""
    return PurePosixPath(place.split("?")[0].rstrip("/")).name.removesuffix(".zip")


def is_archive(place: str) -> bool:
    """Whether a place is one file. ValueError if it is neither a file nor a folder."""
    storage = Storage(place)
    try:
        found = storage.filesystem.get_file_info(storage.full(""))
    except OSError as error:
        raise ValueError(f"{without_secrets(place)} cannot be read: {one_line(error)}") from None
    if found.type == fs.FileType.NotFound:
        raise ValueError(
            f"{without_secrets(place)} does not exist; name a folder or a zip archive of images, or a URI of one"
        )
    return bool(found.type == fs.FileType.File)


def list_files(place: str) -> tuple[list[File], dict[str, list[int]]]:
    """Every file of a place, sorted by name, and the place's marks: path below it ("" for itself) -> size and time of
    change, of an archive or else of each folder. Marks tell cheaply whether files came or went; a folder of a
    bucket has none. ValueError if the place cannot be listed."""
    try:
        if is_archive(place):
            return entries(place), {"": mark(place)}
        files, marks = walk_folder(place) if Storage(place).is_local else (objects(place), {})
    except OSError as error:
        raise ValueError(f"{without_secrets(place)} cannot be read: {one_line(error)}") from None
    return sorted(files), marks


def entries(place: str) -> list[File]:
    """The files of a zip archive; of several with one name the last, which is the one that is read. ValueError if the
    archive is damaged, or if a name points outside of it or has backslashes between its folders."""
    named = {info.filename: info for info in archive(place).infolist() if not info.is_dir()}
    found = [File(name, info.file_size, info.CRC) for name, info in named.items()]
    for file in found:
        path = file.name.replace("\\", "/")  # as text: half a million Path objects take seconds
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(
                f"{without_secrets(place)} is refused: its entry {file.name!r} points outside of the archive"
            )
        if "\\" in file.name:
            raise ValueError(
                f"{without_secrets(place)} has the entry {file.name!r}, with \\ between folders; pack it anew, with /"
            )
    return sorted(found)


def walk_folder(place: str) -> tuple[list[File], dict[str, list[int]]]:
    """The files of a local folder and the marks of its folders. Links are followed, but not up into a folder above."""
    files, marks = [], {}
    root = Storage(place).place
    todo: list[tuple[str, tuple[str, ...]]] = [("", ())]
    while todo:
        below, above = todo.pop()
        folder = f"{root}/{below}" if below else root
        real = os.path.realpath(folder)
        if real in above:
            continue  # a link to a folder that holds it: a loop
        status = Path(folder).stat()
        marks[below] = [0, status.st_mtime_ns]
        with os.scandir(folder) as found:
            for item in found:
                name = f"{below}/{item.name}" if below else item.name
                try:
                    if item.is_dir():
                        todo.append((name, (*above, real)))
                    else:
                        about = item.stat()
                        files.append(File(name, about.st_size, about.st_mtime_ns))
                except FileNotFoundError:  # a link to nothing: it fails when it is read
                    files.append(File(name, 0, 0))
    return files, marks


def objects(place: str) -> list[File]:
    """The files below a prefix of an object store."""
    storage = Storage(place)
    root = storage.full("")
    found = storage.filesystem.get_file_info(fs.FileSelector(root, recursive=True))
    return [
        File(info.path[len(root) + 1 :], info.size, info.mtime_ns or 0)
        for info in found
        if info.type == fs.FileType.File
    ]


def mark(place: str, path: str = "") -> list[int]:
    """Size and time of change of a file, or 0 and the time of a folder. OSError if it is gone or out of reach."""
    storage = Storage(place)
    info = storage.filesystem.get_file_info(storage.full(path))
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError(path)
    return [info.size if info.type == fs.FileType.File else 0, info.mtime_ns or 0]


def has_changed(place: str, marks: Mapping[str, list[int]]) -> bool:
    """Whether a place differs from its recorded marks. One that is gone or out of reach counts as unchanged."""
    try:
        mark(place)
    except OSError:
        return False
    for path, recorded in marks.items():
        try:
            if mark(place, path) != list(recorded):
                return True
        except OSError:
            return True
    return False


@functools.lru_cache(maxsize=4)
def open_archive(place: str, stamp: tuple[int, ...]) -> zipfile.ZipFile:
    """An archive, opened once a process for each `stamp`, its mark: a table of half a million entries takes seconds."""
    storage = Storage(place)
    if storage.is_local:
        return zipfile.ZipFile(storage.place)
    raw: Any = storage.filesystem.open_input_file(storage.full(""))
    return zipfile.ZipFile(buffer_reads(raw))


def buffer_reads(raw: Any) -> BinaryIO:
    """A file of object storage that is read in large pieces."""
    return io.BufferedReader(raw, BUFFER)


def archive(place: str) -> zipfile.ZipFile:
    """The zip archive at a place. ValueError if it is none or is damaged."""
    try:
        return open_archive(place, tuple(mark(place)))
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise ValueError(
            f"{without_secrets(place)} is not a whole zip archive ({one_line(error).rstrip('.')}); "
            f"fetch or make it again"
        ) from None


def reader(place: str) -> Callable[[str], bytes]:
    """A function from a file's name to its content. It raises DamagedError if the file is out of reach or damaged."""
    read = read_archive(place) if is_archive(place) else read_folder(place)

    def read_checked(name: str) -> bytes:
        try:
            return read(name)
        except (FileNotFoundError, IsADirectoryError):
            raise DamagedError(GONE) from None
        except PermissionError:
            raise DamagedError(CLOSED) from None
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
            raise DamagedError(one_line(error)) from None
        except RuntimeError as error:  # what zipfile raises for an encrypted entry
            raise DamagedError(one_line(error)) from None

    return read_checked


def read_archive(place: str) -> Callable[[str], bytes]:
    """A function from the name of an archive's entry to its content."""
    return archive(place).read


def read_folder(place: str) -> Callable[[str], bytes]:
    """A function from the name of a folder's file to its content."""
    storage = Storage(place)
    if storage.is_local:
        return lambda name: Path(storage.place, name).read_bytes()

    def read(name: str) -> bytes:
        data = storage.get(name)
        if data is None:
            raise FileNotFoundError(name)
        return data

    return read
