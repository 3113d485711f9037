"""Tables as Parquet files whose bytes are compared when they are read: each page has a checksum of the format's own,
and before the footer, which has none, lies a mark with one. Readers that know of neither read the same rows; files of
earlier versions have neither, and are read as they are."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gen.damage import DamageError, remark
from gen.results.stand_in import remedy, stand_ins
from gen.results.storage import Stamp, Storage, one_line

MARK = b"genfleet"  # followed by the footer's CRC-32
SEAL = len(MARK) + 4  # bytes of the mark
GAP = 16  # bytes before the mark, at least, of a file that may be given another tag (`gen.results.closing`)
TAIL = 1 << 16  # bytes at a file's end that are read at once: nearly all footers are shorter
SMALL = 1 << 20  # bytes of a file that is read whole
LOOKS = 2  # at a file that seems damaged: it may be replaced meanwhile
LISTS = 5  # of a folder out of which files go meanwhile, at most
AT_ONCE = 16  # files of an object store that are read together
TOGETHER = 8  # local files that a thread decodes one after another: to hand one over takes a fifth of its time
THREADS = min(os.cpu_count() or 1, 4)  # that decode files; more of them wait for each other
INDEXED = ("run",)  # columns with statistics in each row group
OF_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
TEXTS = pa.dictionary(pa.int32(), pa.string())
KINDS = (  # types that are cast to each other, as those that other writers of Parquet choose
    lambda kind: kind == TEXTS or any(is_text(kind) for is_text in OF_TEXTS),
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_list,
)
FAULTS = (pa.ArrowException, OSError)  # what pyarrow raises for damaged files


def footer_length(end: bytes) -> int:
    """Bytes of the footer of a Parquet file that ends so, with its length and the format's last word."""
    return int(struct.unpack("<I", end[-8:-4])[0]) + 8


def seal(data: bytes, size: int = 0) -> bytes:
    """The bytes of a Parquet file with a mark before the footer and, before that, zeros that make it `size` bytes."""
    start = len(data) - footer_length(data)
    body, footer = data[:start], data[start:]
    return body + bytes(max(size - len(data) - SEAL, 0)) + MARK + struct.pack("<I", zlib.crc32(footer)) + footer


def mark_of(data: bytes) -> int | None:
    """Where the mark begins in the bytes of a file; None if that has none."""
    at = len(data) - footer_length(data) - SEAL if len(data) > 8 else -1
    return at if at >= 0 and data[at:].startswith(MARK) else None


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


Equal = Mapping[str, Any]
"""Column -> the value, or the set of values, of the wanted rows."""


def read_files(
    storage: Storage,
    folder: str,
    schema: pa.Schema,
    *,
    columns: Sequence[str] | None = None,
    equal: Equal | None = None,
    start: str = "",
    without: str = "",
    encoded: bool = False,
) -> pa.Table:
    """The rows of all files of a folder, or of those whose names begin with `start`, or not with `without`; in the
    order of these names. `equal` chooses rows. `encoded`: texts are dictionaries. DamageError, which names a file, if
    one is damaged. Merged files are read in the place of those that they stand for (`gen.results.stand_in`); their rows
    come first.

    A search leaves hundreds of files with dozens of row groups of a few rows each. So each file is one small table,
    decoded at once; `pyarrow.dataset`, which makes a task of every row group, takes ten times as long for them."""
    shape = pa.schema([schema.field(name) for name in columns or schema.names])
    if encoded:
        shape = pa.schema([(one.name, TEXTS if one.type == pa.string() else one.type) for one in shape])
    read = partial(read_file, storage, schema=schema, shape=shape, equal=equal or {})
    for look in range(LISTS):
        stamps = {
            name: stamp
            for name, stamp in storage.stamps(folder).items()
            if name.startswith(start) and not name.startswith("_") and not (without and name.startswith(without))
        }
        merged, others = read_merged(storage, folder, stamps, read)
        found = in_threads(read, others, storage)
        if None not in found or look == LISTS - 1:  # else a file went meanwhile: another one may have its rows now
            break
    return pa.concat_tables([shape.empty_table(), *merged, *filter(None, found)])


def read_merged(
    storage: Storage, folder: str, stamps: Mapping[str, Stamp], read: Callable[[str], pa.Table | None]
) -> tuple[list[pa.Table], list[str]]:
    """The rows of the merged files that stand for some of these files, and the paths of the others. A merged file that
    cannot be read stands for none, which is remarked unless it went meanwhile."""

    def attempt(path: str) -> pa.Table | None:
        try:
            return read(path)
        except DamageError as error:
            remark(f"{str(error).partition('; ')[0]}; {remedy(folder)}")
            return None

    merged = stand_ins(storage, folder, stamps)
    found = dict(zip(merged, in_threads(attempt, list(merged), storage), strict=True))
    held = {name for path, names in merged.items() if found[path] is not None for name in names}
    return [rows for rows in found.values() if rows is not None], [
        f"{folder}/{name}" for name in stamps if name not in held
    ]


def in_threads(work: Callable[[str], Any], paths: Sequence[str], storage: Storage) -> list[Any]:
    """The results of work on files, in their order: an object store answers many at once."""
    count = min(len(paths), THREADS if storage.is_local else AT_ONCE)
    if count < 2:
        return [work(path) for path in paths]
    size = TOGETHER if storage.is_local else 1
    parts = [paths[start : start + size] for start in range(0, len(paths), size)]
    with ThreadPoolExecutor(count) as pool:
        return [found for part in pool.map(lambda part: list(map(work, part)), parts) for found in part]


def read_file(storage: Storage, path: str, schema: pa.Schema, shape: pa.Schema, equal: Equal) -> pa.Table | None:
    """The wanted rows of a file, in the columns of `shape`; None if there is no such file."""
    for _ in range(LOOKS):  # at a file that seems damaged: it may be replaced meanwhile
        try:
            with storage.filesystem.open_input_file(storage.full(path)) as file:
                return choose(*open_whole(file, [one.name for one in shape if one.type == TEXTS]), shape, equal)
        except FileNotFoundError:
            return None
        except FAULTS:
            check_file(storage, path, schema)
    raise DamageError(f"{storage}/{path} changes while it is read; read again once its writer has ended")


def open_whole(file: pa.NativeFile, encoded: Sequence[str] = ()) -> tuple[pq.ParquetFile, bool]:
    """A file of Parquet's, whose footer is compared with its mark, with columns that are to be dictionaries; and
    whether all of it is in memory. OSError if the mark is another one."""
    size = file.size()
    tail = SMALL if size <= SMALL else TAIL  # of a small file all
    end = file.read_at(min(tail, size), max(size - tail, 0))
    if len(end) > 8 and len(end) < footer_length(end) + SEAL <= size:
        end = file.read_at(size, 0)
    if not is_whole(end):
        raise OSError("its footer's checksum differs")
    is_here = len(end) == size
    source = pa.BufferReader(end) if is_here else file
    return (
        pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=not is_here, read_dictionary=list(encoded)),
        is_here,
    )


def choose(file: pq.ParquetFile, is_here: bool, shape: pa.Schema, equal: Equal) -> pa.Table:
    """The wanted rows of an open file. Only row groups that hold wanted rows are decoded. Where the file `is_here`, in
    memory, its statistics are not asked: to decode a column of all row groups takes less than to look at those."""
    held = file.schema_arrow.names
    if any(name not in held for name in equal):  # rows of an earlier version, which did not tell it
        return shape.empty_table()
    groups = list(range(file.num_row_groups))
    if not is_here and any(name in equal for name in INDEXED):
        groups = [group for group in groups if may_hold(file.metadata.row_group(group), held, equal)]
    keep = None
    if equal and groups:
        keep = is_wanted(file.read_row_groups(groups, columns=list(equal), use_threads=False), equal)
        if not keep.any():
            return shape.empty_table()
        sizes = [file.metadata.row_group(group).num_rows for group in groups]
        parts = np.split(keep, np.cumsum(sizes)[:-1])
        groups = [group for group, part in zip(groups, parts, strict=True) if part.any()]
        keep = np.concatenate([part for part in parts if part.any()])
    if not groups:
        return shape.empty_table()
    rows = file.read_row_groups(groups, columns=[name for name in shape.names if name in held], use_threads=False)
    if keep is not None and not keep.all():
        rows = rows.filter(pa.array(keep))
    return conform(rows, shape)


def may_hold(group: pq.RowGroupMetaData, held: Sequence[str], equal: Equal) -> bool:
    """Whether a row group may have wanted rows, as its statistics tell."""
    for name in INDEXED:
        column = group.column(held.index(name)) if name in equal else None
        told = column.statistics if column is not None and column.path_in_schema == name else None
        if told is not None and told.has_min_max and isinstance(told.min, str):
            return any(told.min <= value <= told.max for value in values_of(equal[name]))
    return True


def values_of(wanted: Any) -> list[Any]:
    """The values that a condition allows."""
    return sorted(wanted) if isinstance(wanted, (set, frozenset)) else [wanted]


def is_wanted(keys: pa.Table, equal: Equal) -> np.ndarray:
    """Which rows have the wanted values; a null has none."""
    found = np.ones(len(keys), dtype=bool)
    for name, wanted in equal.items():
        column = keys[name]
        found &= pc.is_in(column, value_set=pa.array(values_of(wanted), column.type)).to_numpy()
    return found


def conform(rows: pa.Table, shape: pa.Schema) -> pa.Table:
    """Rows in the columns and types of `shape`; columns that they lack are null. TypeError of pyarrow's for a column of
    another kind."""
    if rows.schema.names == shape.names and rows.schema.types == shape.types:
        return pa.table(rows.columns, schema=shape)
    columns = list[Any]()
    for one in shape:
        found = rows[one.name] if one.name in rows.column_names else pa.nulls(len(rows), one.type)
        if not any(is_kind(found.type) and is_kind(one.type) for is_kind in KINDS) and found.type != one.type:
            raise pa.ArrowTypeError(f"its column {one.name} holds {found.type}, not {one.type}")
        columns.append(found.cast(one.type))
    return pa.table(columns, schema=shape)


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
