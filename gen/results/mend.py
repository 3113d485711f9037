"""Repairs of an experiment's tables that need nothing but the tables: whoever calls these holds its lease."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gen.results.ledger import SLOT_BYTES, put_rows, to_parquet, to_slot
from gen.results.manifest import CALLS, MERGED, REBUILT, REMOVED, Part, parts_of, said
from gen.results.schema import SCHEMAS, TABLES, to_table
from gen.results.storage import Storage
from gen.results.survey import Survey

ASIDE = "_damaged"  # folder of files that cannot be read, beside the tables


def set_aside(storage: Storage, experiment: str, found: Survey) -> list[str]:
    """Moves files that cannot be read out of the tables, so that readers pass them over; gives where they lie now."""
    places = []
    for table, name in found.damaged:
        path, place = f"{experiment}/{table}/{name}", f"{experiment}/{ASIDE}/{table}-{name}"
        storage.put(place, storage.get(path) or b"")
        storage.delete(path)
        places.append(place)
    return places


def drop_doubles(storage: Storage, experiment: str, found: Survey) -> dict[str, int]:
    """Takes rows that stand twice out of their files, all but those of the latest attempt; table -> how many."""
    dropped = {}
    for table in TABLES:
        keys = found.keys[table]
        twice = keys[found.doubled(table)]
        for name, of_file in twice.groupby("file"):
            take_out(storage, f"{experiment}/{table}/{name}", table, of_file["place"].to_numpy(dtype=int))
        if len(twice):
            dropped[table] = len(twice)
    return dropped


def take_out(storage: Storage, path: str, table: str, places: np.ndarray) -> None:
    """Replaces a file by one without the rows at these places. Its footer tells how many of each run they are."""
    data = storage.get(path) or b""
    file = pq.ParquetFile(io.BytesIO(data))
    keep = np.ones(file.metadata.num_rows, dtype=bool)
    keep[places] = False
    schema = SCHEMAS[table]
    groups, start = [], 0
    for index in range(file.num_row_groups):
        group = file.read_row_group(index)
        stays = keep[start : start + len(group)]
        start += len(group)
        if stays.any():
            groups.append(fit(group.filter(pa.array(stays)), schema))
    runs = file.read(columns=["run"])["run"]
    parts, start = list[Part](), 0
    for name, count, notes in parts_of(path.rpartition("/")[2], file.metadata):
        stays = keep[start : start + count]
        gone = Counter[str](notes.get(REMOVED, {}))
        gone.update(runs[start : start + count].filter(pa.array(~stays)).to_pylist())
        parts.append((name, int(stays.sum()), {**notes, REMOVED: dict(gone)} if gone else notes))
        start += count
    whole = said(file.metadata, MERGED) is not None
    told = {MERGED: parts} if whole else {key: parts[0][2][key] for key in (CALLS, REMOVED) if key in parts[0][2]}
    texts = {key: json.dumps(value) for key, value in told.items()}
    slot = to_slot(groups, schema, texts) if len(data) == SLOT_BYTES else None
    put_rows(storage, path, slot or to_parquet(groups, schema, notes=texts), schema)


def fit(group: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of any version under the present schema: columns that it lacks are null."""
    columns = [group[one.name] if one.name in group.column_names else pa.nulls(len(group), one.type) for one in schema]
    return pa.table(columns, schema=schema)


def put_rebuilt(
    storage: Storage, experiment: str, table: str, run: str, first: int, rows: Iterable[dict[str, Any]]
) -> None:
    """Writes rows of a run that stand for lost ones, under the name that the run would give them: if it is trained
    again from there, it replaces them."""
    path = f"{experiment}/{table}/{run}-{first:06d}.parquet"
    data = to_parquet([to_table(table, rows)], SCHEMAS[table], notes={REBUILT: "true"})
    put_rows(storage, path, data, SCHEMAS[table])
