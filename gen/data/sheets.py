"""Parquet tables with a column of encoded images, as Hugging Face's data sets have them: each row is a file."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow

from gen.data.archives import OPEN, Stamp, open_stream, refuse_torn
from gen.data.decode import DamagedError
from gen.data.raw import File
from gen.results.storage import Storage, one_line

LABELS = ("label", "labels", "class", "category", "target", "fine_label")  # columns that tell a class, the first first
IMAGES = ("image", "img", "images", "jpg", "png", "webp")  # columns of encoded images, the first first
ROW = ".row"  # ends the name of a row, as a suffix ends that of a file
FAULTS = (pyarrow.ArrowException, OSError)  # what pyarrow raises for a table that is cut or overwritten


@dataclass(frozen=True)
class Sheet:
    """A Parquet table with a column of encoded images, each row bytes or {bytes, path}, as Hugging Face writes it."""

    file: Any  # pyarrow.parquet.ParquetFile
    column: str  # of the images
    label: str  # of the classes; "": it has none
    names: Sequence[str]  # of the classes, if the table tells them
    starts: Sequence[int]  # first row of each row group, and the number of rows

    def classes(self) -> list[Any]:
        """The class of each row."""
        found: list[Any] = self.file.read(columns=[self.label]).column(0).to_pylist()
        return [self.names[one] if self.names and isinstance(one, int) and one >= 0 else one for one in found]


def is_encoded(kind: Any) -> bool:
    """Whether a column of this Arrow type can hold encoded images."""
    types = pyarrow.types
    if types.is_struct(kind):
        return any(field.name == "bytes" and is_encoded(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


@functools.lru_cache(maxsize=OPEN)
def open_sheet(place: str, stamp: Stamp) -> Sheet:
    """A Parquet table of images. ValueError if it is damaged, or has no such column or several."""
    storage = Storage(place)
    import pyarrow.parquet  # most sets need it not

    try:
        file = pyarrow.parquet.ParquetFile(open_stream(storage), page_checksum_verification=True)
    except FAULTS as error:
        raise refuse_torn(storage, "Parquet file", error) from None
    schema, meta = file.schema_arrow, file.metadata
    encoded = [field.name for field in schema if is_encoded(field.type)]
    column = next((name for name in IMAGES if name in encoded), encoded[0] if len(encoded) == 1 else "")
    if not column:
        raise ValueError(
            f"{storage} has the columns {', '.join(schema.names)}; one of encoded images (bytes, or Hugging Face's "
            f"struct of bytes and path) should be among them, called image"
        )
    told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    known = {name: how["names"] for name, how in told.items() if isinstance(how, dict) and how.get("names")}
    label = next((name for name in (*LABELS, *known) if name in schema.names), "")
    starts = [0]
    for group in range(meta.num_row_groups):
        starts.append(starts[-1] + meta.row_group(group).num_rows)
    return Sheet(file, column, label, known.get(label, ()), starts)


def list_sheet(place: str, stamp: Stamp) -> list[File]:
    """The rows of a Parquet table as files, named by their numbers. Their sizes are the means of their row groups."""
    sheet = open_sheet(place, stamp)
    files = []
    for group, (start, stop) in enumerate(zip(sheet.starts, sheet.starts[1:], strict=False)):
        size = sheet.file.metadata.row_group(group).total_byte_size // max(stop - start, 1)
        files += [File(f"{row:09d}{ROW}", size, stamp[-1] + row) for row in range(start, stop)]
    return files


def read_sheet(place: str, stamp: Stamp) -> Callable[[str], bytes]:
    """A function from the number of a row of a Parquet table to its encoded image."""
    sheet = open_sheet(place, stamp)

    @functools.lru_cache(maxsize=1)  # rows are read one behind the other
    def images_of(group: int) -> list[Any]:
        try:
            found: list[Any] = sheet.file.read_row_group(group, columns=[sheet.column]).column(0).to_pylist()
        except FAULTS as error:
            raise DamagedError(one_line(error)) from None
        return found

    def read(name: str) -> bytes:
        row = int(name.removesuffix(ROW))
        group = next(number for number, stop in enumerate(sheet.starts[1:]) if row < stop)
        found = images_of(group)[row - sheet.starts[group]]
        data = found.get("bytes") if isinstance(found, dict) else found
        if not data:
            raise DamagedError("its row has no bytes")
        return bytes(data)

    return read


def rows_by_class(place: str, stamp: Stamp) -> tuple[dict[str, Any], Sequence[str]]:
    """The name of each row of a Parquet table -> its class, and the names of the classes in order, if the table tells
    them. Nothing where it has no classes."""
    sheet = open_sheet(place, stamp)
    files = list_sheet(place, stamp) if sheet.label else []
    return dict(zip((file.name for file in files), sheet.classes() if files else (), strict=True)), sheet.names
