"""Tables as Parquet files whose bytes are compared when they are read: each page has a checksum of the format's own,
and before the footer, which has none, lies a mark with one. Readers that know of neither read the same rows; files of
earlier versions have neither, and are read as they are."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from gen.damage import DamageError
from gen.results.storage import Storage, one_line

CHECKED = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)
MARK = b"genfleet"  # followed by the footer's CRC-32
SEAL = len(MARK) + 4  # bytes of the mark
TAIL = 1 << 16  # bytes at a file's end that are read at once: nearly all footers are shorter
LOOKS = 2  # at a file that seems damaged: it may be replaced meanwhile
AT_ONCE = 16  # files of an object store that are looked at together
FAULTS = (pa.ArrowException, OSError)  # what pyarrow raises for damaged files


def footer_length(end: bytes) -> int:
    """Bytes of the footer of a Parquet file that ends so, with its length and the format's last word."""
    return int(struct.unpack("<I", end[-8:-4])[0]) + 8


def seal(data: bytes, size: int = 0) -> bytes:
    """The bytes of a Parquet file with a mark before the footer and, before that, zeros that make it `size` bytes."""
    start = len(data) - footer_length(data)
    body, footer = data[:start], data[start:]
    return body + bytes(max(size - len(data) - SEAL, 0)) + MARK + struct.pack("<I", zlib.crc32(footer)) + footer


def is_whole(end: bytes) -> bool:
    """Whether the footer in the last bytes of a file is the one that its mark was made of; a file without a mark may
    be whole."""
    length = footer_length(end) if len(end) > 8 else len(end)
    mark = end[-length - SEAL : -length]
    return not mark.startswith(MARK) or mark[len(MARK) :] == struct.pack("<I", zlib.crc32(end[-length:]))


def read_bytes(data: bytes, where: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in the bytes of a Parquet file. DamageError, which names `where`, if they are damaged."""
    try:
        if not is_whole(data):
            raise OSError("its footer's checksum differs")
        return pq.read_table(io.BytesIO(data), columns=columns, page_checksum_verification=True)
    except FAULTS as error:
        raise DamageError(
            f"{where} is damaged ({one_line(error)}); put a copy of it back, or delete it: then its rows are missing"
        ) from error


def read_files(
    storage: Storage, folder: str, schema: pa.Schema, *, columns: Any = None, wanted: Any = None, start: str = ""
) -> pa.Table:
    """The rows of all files of a folder whose names begin with `start`, or those `wanted`, as `pyarrow.dataset` reads
    them. DamageError, which names a file, if one is damaged."""
    paths = [f"{folder}/{name}" for name in storage.list(folder) if name.startswith(start) and not name.startswith("_")]
    if not paths:
        return schema.empty_table().select(columns or schema.names)
    for path in torn_footers(storage, paths):
        check_file(storage, path, schema)
    source = [storage.full(path) for path in paths] if start else storage.full(folder)
    try:
        files = ds.dataset(source, schema=schema, filesystem=storage.filesystem, format=CHECKED)
        return files.to_table(columns=columns, filter=wanted)
    except FAULTS:
        for path in paths:
            check_file(storage, path, schema)
        raise


def torn_footers(storage: Storage, paths: Sequence[str]) -> Iterator[str]:
    """Those of some files whose footers are not those of their marks."""

    def is_torn(path: str) -> bool:
        try:
            with storage.filesystem.open_input_file(storage.full(path)) as file:
                size = file.size()
                end = file.read_at(min(TAIL, size), max(size - TAIL, 0))
                if len(end) > 8 and len(end) < footer_length(end) + SEAL <= size:
                    end = file.read_at(size, 0)
        except FileNotFoundError:
            return False
        return not is_whole(end)

    if storage.is_local:
        yield from filter(is_torn, paths)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from (path for path, torn in zip(paths, pool.map(is_torn, paths), strict=True) if torn)


def check_file(storage: Storage, path: str, schema: pa.Schema) -> None:
    """DamageError if the rows of a file cannot be read as those of a table, each time that one looks."""
    for look in range(LOOKS):
        data = storage.get(path)
        if data is None:
            return
        try:
            found = read_bytes(data, f"{storage}/{path}").schema
        except DamageError:
            if look == LOOKS - 1:
                raise
            continue
        unlike = [one for one in schema if one.name in found.names and found.field(one.name).type != one.type]
        if unlike:
            raise DamageError(
                f"{storage}/{path} is no file of this table: its column {unlike[0].name} holds "
                f"{found.field(unlike[0].name).type}, not {unlike[0].type}; move it to another folder"
            )
        return
