"""Folders, zip archives and object storage as one thing: named files, listed and read. Nothing is ever unpacked."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pyarrow import fs

from gen.data.archives import (
    PACKED,
    UNREADABLE,
    answering,
    check_names,
    kind_of,
    list_tar,
    list_zip,
    read_tar,
    read_zip,
)
from gen.data.decode import DamagedError
from gen.data.raw import File
from gen.data.sheets import list_sheet, read_sheet
from gen.results.storage import URI, Storage, check_place, local_path, one_line

GONE, CLOSED = "it is not there", "it may not be read"
OUT_OF_REACH = {GONE, CLOSED}  # why a file cannot be read although its image may be sound
SHARDS = (".tar", ".parquet")  # files of a folder that hold the images of a set, each a share of them


def normal(place: str) -> str:
    """A place as all processes and hosts understand it: an absolute path, or the URI."""
    check_place(place)
    try:
        place.encode()
    except UnicodeEncodeError:
        raise ValueError(f"place {place!a} has a name that is no UTF-8; name it by a link whose name is") from None
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
        found = local_type(storage.place) if storage.is_local else remote_type(storage)
    except OSError as error:
        raise ValueError(f"{without_secrets(place)} cannot be read: {one_line(error)}") from None
    if found == fs.FileType.NotFound:
        raise ValueError(
            f"{without_secrets(place)} does not exist; name a folder or a zip archive of images, or a URI of one"
        )
    return bool(found == fs.FileType.File)


def local_type(path: str) -> fs.FileType:
    """What is at a local path. pyarrow knows only names that are UTF-8."""
    try:
        return fs.FileType.Directory if stat.S_ISDIR(Path(path).stat().st_mode) else fs.FileType.File
    except (FileNotFoundError, NotADirectoryError):
        return fs.FileType.NotFound


def remote_type(storage: Storage) -> fs.FileType:
    """What is at a place on object storage. ValueError if that does not answer."""
    storage.check_reachable()
    return storage.filesystem.get_file_info(storage.full("")).type


class Listing(NamedTuple):
    """What a place holds."""

    files: list[File]  # sorted by name
    marks: dict[str, list[int]]  # path below the place ("" for itself) -> size and time of change: see `list_files`
    folders: list[str]  # as far as the place tells of folders; the files' names tell of those that hold some


def list_files(place: str) -> Listing:
    """Every file of a place, and the place's marks: of an archive itself, of a local folder every folder in it. Marks
    tell cheaply whether files came or went; a folder of a bucket has none. ValueError if the place cannot be listed."""
    try:
        if is_archive(place):
            files, folders = list_archive(place)
            marks = {"": mark(place)}
        elif Storage(place).is_local:
            files, marks = walk_folder(place)
            folders = [*marks][1:]
        else:
            files, marks, folders = objects(place), {}, []
    except OSError as error:
        raise ValueError(f"{without_secrets(place)} cannot be read: {one_line(error)}") from None
    return Listing(sorted(files), marks, folders)


def list_archive(place: str) -> tuple[list[File], list[str]]:
    """The files of an archive or a table, and its folders. ValueError if it is damaged, or no such file."""
    storage, stamp = Storage(place), tuple(mark(place))
    kind = kind_of(storage)
    if kind == "parquet":
        return list_sheet(place, stamp), []
    if kind in PACKED:
        raise ValueError(f"{without_secrets(place)} is compressed by {kind}, and cannot be read here; unpack it")
    if kind not in ("zip", "tar"):
        what = f"is of the kind {kind}" if kind else "is no archive"
        raise ValueError(
            f"{without_secrets(place)} {what}, which is not read here; allowed: a folder, a zip, a tar (gzip, bzip2 or "
            f"xz too), a Parquet table of images, an .npz or .npy of arrays; unpack it, or fetch it again if it should "
            f"be one of these"
        )
    files, folders = list_zip(place, stamp) if kind == "zip" else list_tar(place, stamp)
    check_names(storage, files)
    return files, folders


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
    if storage.is_local:
        about = Path(storage.place, path).stat()
        return [0 if stat.S_ISDIR(about.st_mode) else about.st_size, about.st_mtime_ns]
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


def reader(place: str) -> Callable[[str], bytes]:
    """A function from a file's name to its content; SHARD.tar/NAME and TABLE.parquet/ROW are names too. It raises
    DamagedError if the file is out of reach or damaged, AwayError if the place does not answer."""
    storage, read = Storage(place), read_archive(place) if is_archive(place) else read_folder(place)

    def read_checked(name: str) -> bytes:
        try:
            with answering(storage):
                return read(name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise DamagedError(GONE) from None
        except PermissionError:
            raise DamagedError(CLOSED) from None
        except (*UNREADABLE, NotImplementedError, OSError) as error:
            raise DamagedError(one_line(error)) from None
        except RuntimeError as error:  # what zipfile raises for an encrypted entry
            raise DamagedError(one_line(error)) from None

    return read_checked


READERS = {"zip": read_zip, "tar": read_tar, "parquet": read_sheet}


def read_archive(place: str) -> Callable[[str], bytes]:
    """A function from the name of an archive's entry to its content."""
    return READERS[kind_of(Storage(place))](place, tuple(mark(place)))


def read_folder(place: str) -> Callable[[str], bytes]:
    """A function from the name of a folder's file, or of a file in one of its shards, to its content."""
    storage, shards = Storage(place), dict[str, Callable[[str], bytes]]()

    def read(name: str) -> bytes:
        shard, inner = split_shard(name)
        if shard and shard not in shards and is_archive(below(place, shard)):  # a folder may be called so too
            shards[shard] = read_archive(below(place, shard))
        if shard in shards:
            return shards[shard](inner)
        data = Path(storage.place, name).read_bytes() if storage.is_local else storage.get(name)
        if data is None:
            raise FileNotFoundError(name)
        return data

    return read


def split_shard(name: str) -> tuple[str, str]:
    """The name of a file in a shard as the shard and the name within it; "" as the shard for another file's name."""
    for suffix in SHARDS:
        shard, found, inner = name.partition(f"{suffix}/")
        if found:
            return f"{shard}{suffix}", inner
    return "", name


def list_shard(place: str, shard: str) -> list[File]:
    """The files of a shard of a folder, by names that begin with the shard's. ValueError if it is damaged."""
    files, _ = list_archive(below(place, shard))
    return [file._replace(name=f"{shard}/{file.name}") for file in sorted(files)]


def below(place: str, path: str) -> str:
    """The place of a file of a folder."""
    head, question, query = place.partition("?") if URI.match(place) else (place, "", "")
    return f"{head.rstrip('/')}/{path}{question}{query}"
