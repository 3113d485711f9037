"""Other readers of Parquet on the folders of the tables: the same rows, in the same types, as gen.results has."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from example_rows import begin, end, go, whole_run

from gen.results import SCHEMAS, TABLES, Ledger, Slot, Storage, queries


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Runs in a slot and a run with files of its own, and what lies beside tables: manifests, leases, an event."""
    found = tmp_path_factory.mktemp("readers")
    storage = Storage(str(found))
    slot = Slot(storage, "e", "s")
    for run in ("run0", "run1", "run2"):
        whole_run(Ledger(storage, "e", run, "a1", slot=slot), 4)
    ledger = Ledger(storage, "e", "long", "a2")
    begin(ledger, seed=2**53 + 1, hosts=["a", "b"])
    ledger.flush(0)
    go(ledger, 1)
    row = {"epoch": None, "kind": "resume", "decision": None, "value": float("nan"), "why": "it was", "detail": "{}"}
    ledger.add("events", 1, time=pd.Timestamp("2026-01-31T12:00:00.000001", tz="UTC").to_pydatetime(), **row)
    end(ledger, 1, checkpoint="e/_checkpoints/long/best.pt", best_epoch=None)
    ledger.close(1)
    for table in TABLES:
        Path(found, "e", table, "_note.json").write_text("no table")
        Path(found, "e", table, ".half.parquet").write_text("half of one")
    return str(found)


def plain_types(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows under the schema's own words for the same types: texts are large or views elsewhere, and times say UTC
    or name its zone otherwise."""
    assert rows.column_names == schema.names
    for own, field in zip(rows.schema, schema, strict=True):
        assert kind_of(own.type) == kind_of(field.type), field.name
    columns = [rows[field.name].combine_chunks().cast(field.type) for field in schema]
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    return pa.table(columns, schema=nullable).sort_by([(name, "ascending") for name in ("run", "attempt")])


def kind_of(kind: pa.DataType) -> str:
    """A type in words that do not depend on the reader."""
    if pa.types.is_timestamp(kind):
        return f"{kind.unit} with a zone" if kind.tz else kind.unit
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return f"list of {kind_of(kind.value_type)}"
    return str(kind).removeprefix("large_").removesuffix("_view")


@pytest.mark.parametrize("table", TABLES)
def test_all_readers_give_the_same_rows_and_types(place: str, table: str) -> None:
    folder, schema = f"{place}/e/{table}", SCHEMAS[table]
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    found = {
        "gen.results": queries.read_arrow(place, "e", table),
        "pandas": pa.Table.from_pandas(pd.read_parquet(folder, dtype_backend="pyarrow"), preserve_index=False),
        "pyarrow": ds.dataset(folder).to_table(),
        "polars": pl.read_parquet(f"{folder}/[!_.]*.parquet").to_arrow(),
        "duckdb": connection.sql(f"SELECT * FROM '{folder}/[!_.]*.parquet'").to_arrow_table(),
    }
    first = plain_types(found.pop("gen.results"), schema)
    assert len(first) > 0
    for reader, rows in found.items():
        other = plain_types(rows, schema)
        for name in schema.names:
            assert str(other[name].to_pylist()) == str(first[name].to_pylist()), (reader, name)  # NaN is NaN
