"""Checksums of the arrays of a cache folder: compared when the first job of a host opens it, and when somebody asks. A
mark beside the arrays remembers that they were, until a file changes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from gen.damage import is_sealed, sealed
from gen.data.cache import content_hash

SUMS = "sums"  # key of a manifest: file -> CRC-32; caches of earlier versions have none
MANIFEST = "manifest.json"
CHUNK = 1 << 23  # bytes in memory at a time


def sum_of(path: Path) -> int:
    """CRC-32 of a file."""
    found = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found = zlib.crc32(chunk, found)
    return found


def with_sums(manifest: Mapping[str, Any], folder: Path, files: Iterable[str]) -> dict[str, Any]:
    """A manifest with the checksums of these files of its folder, and with its own."""
    return sealed({**manifest, SUMS: {name: sum_of(folder / name) for name in dict.fromkeys(files)}})


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a cache folder. ValueError if it is damaged, OSError if it is not there."""
    manifest = json.loads(path.read_text())
    if not isinstance(manifest, dict) or not is_sealed(manifest):
        raise ValueError(f"{path} is not what was written")
    return manifest


def torn_file(folder: Path, manifest: Mapping[str, Any]) -> str:
    """The first of a manifest's files that is not what was written; "" if all are."""
    sums = manifest.get(SUMS, {})
    return next((name for name in sums if not (folder / name).is_file() or sum_of(folder / name) != sums[name]), "")


def files_of(manifest: Mapping[str, Any]) -> list[str]:
    """The files of a data set's cache folder: its manifest and its arrays."""
    arrays = (like["file"] for tables in manifest["splits"].values() for table in tables for like in table.values())
    return [MANIFEST, *dict.fromkeys(arrays)]


def damage_of(folder: Path, manifest: Mapping[str, Any], splits: Mapping[str, Sequence[Mapping[str, Tensor]]]) -> str:
    """What in a data set's cache folder is not what was written; "" if all is. A cache of an earlier version has no
    checksums of its arrays, and its hash tells."""
    if SUMS in manifest:
        return torn_file(folder, manifest)
    arrays = {
        split: [{name: column.numpy() for name, column in one.items()} for one in splits[split]] for split in splits
    }
    return "" if content_hash(arrays) == manifest["hash"] else "an array"


def mark_path(folder: Path) -> Path:
    """Where a host remembers that it compared the files of a folder."""
    return folder / f".compared-{socket.gethostname()[:100]}.json"


def state_of(folder: Path, names: Iterable[str]) -> dict[str, list[int]]:
    """File -> what differs after each change of it: number, size, and times of the last changes."""
    found = {name: (folder / name).stat() for name in names}
    return {name: [at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns] for name, at in found.items()}


def is_marked(folder: Path, names: Iterable[str]) -> bool:
    """Whether this host has compared these files as they are now."""
    try:
        return bool(json.loads(mark_path(folder).read_text()) == state_of(folder, names))
    except (OSError, ValueError):
        return False


def mark(folder: Path, names: Iterable[str]) -> None:
    """Remembers that this host has compared these files. Where it cannot write, it compares them the next time too."""
    with contextlib.suppress(OSError):
        fresh = mark_path(folder).with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(state_of(folder, names)))
        fresh.replace(mark_path(folder))
