"""Files of tables that are damaged: what is read is what was written, or one line names the file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gen.damage import DamageError, take_remarks
from gen.record import history
from gen.results import queries
from gen.results.ledger import Ledger, Slot, last_ticks, to_parquet
from gen.results.manifest import CALLS, MERGED
from gen.results.parquet import SEAL, footer_length
from gen.results.schema import SCHEMAS
from gen.results.storage import Storage
from gen.results.survey import survey
from tests.fixtures.harm import cuts, flips
from tests.results.example_rows import whole_run

TABLES = ("runs", "settings", "metrics", "evals", "samples", "outcomes")


@pytest.fixture(params=["flushed", "slot"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A storage with a run of experiment "e", in files of its own or in those of a slot."""
    found = Storage(str(tmp_path))
    slot = Slot(found, "e", "s") if request.param == "slot" else None
    whole_run(Ledger(found, "e", "run", "a", slot=slot), 4)
    return found


def test_a_flipped_bit_of_a_table_is_found_or_changes_nothing(storage: Storage) -> None:
    """Those that change nothing lie in the gap of a slot's file, and where the format says things twice."""
    found = list[str]()
    looked = 0
    for table in TABLES:
        for file in Path(storage.place, "e", table).glob("*.parquet"):
            data, before = file.read_bytes(), queries.read(storage, "e", table)
            used = bytes(data.rstrip(b"\0"))
            start = data.find(bytes(64))  # of a slot's gap
            for where, harmed in flips(used if start < 0 else data[:start], 25):
                file.write_bytes(harmed + data[len(harmed) :])
                looked += 1
                try:
                    pd.testing.assert_frame_equal(queries.read(storage, "e", table), before, obj=f"{file} {where}")
                except DamageError as error:
                    found.append(str(error))
                    assert f"{file} is damaged (" in found[-1]
            file.write_bytes(data)
    assert looked >= 25 * len(TABLES)
    assert len(found) > looked / 2
    assert not any("\n" in line for line in found)


def test_each_bit_of_a_footer_is_found_or_changes_nothing(storage: Storage) -> None:
    (file,) = Path(storage.place, "e", "outcomes").glob("*.parquet")
    data, before = file.read_bytes(), queries.read(storage, "e", "outcomes")
    start = data.rindex(b"genfleet")
    for byte in range(start, len(data), 5):
        file.write_bytes(data[:byte] + bytes([data[byte] ^ 1 << byte % 8]) + data[byte + 1 :])
        try:
            pd.testing.assert_frame_equal(queries.read(storage, "e", "outcomes"), before, obj=f"byte {byte}")
        except DamageError:
            continue
        assert byte < start + 8, byte  # a mark that is none has nothing to compare


@pytest.mark.parametrize("marked", [True, False])
def test_a_survey_names_a_file_whose_footer_is_harmed(tmp_path: Path, marked: bool) -> None:
    """A merged file's too. Without a mark, as files of earlier versions are, it ends whatever the footer says."""
    storage, name = Storage(str(tmp_path)), "run-000000.parquet"
    whole_run(Ledger(storage, "e", "run", "a"), 4)
    file, schema = tmp_path / "e" / "outcomes" / name, SCHEMAS["outcomes"]
    notes = {MERGED: json.dumps([(name, 1, {CALLS: [[0, "run", {"runs": 1, "outcomes": 1}]]})])}
    whole = file.read_bytes()
    for data in (whole, to_parquet([pq.read_table(io.BytesIO(whole), schema=schema)], schema, notes=notes)):
        footer = len(data) - footer_length(data)
        body = data[: footer if marked else footer - SEAL]
        told = 0
        for where, harmed in flips(data[footer:], 20):
            file.write_bytes(body + harmed)
            damaged = [str(fault) for fault in survey(storage, "e").faults() if fault.kind == "damaged"]
            assert all(f", {name}: " in line and "\n" not in line for line in damaged)
            assert damaged or not marked, where
            told += bool(damaged)
        assert told > 5


def test_a_file_that_is_cut_or_something_else_is_named(storage: Storage) -> None:
    (file,) = Path(storage.place, "e", "metrics").glob("*.parquet")
    data = file.read_bytes()
    for where, harmed in cuts(data):
        file.write_bytes(harmed)
        for read in (lambda: queries.read(storage, "e", "metrics"), lambda: queries.metrics(storage, "e", run="r")):
            with pytest.raises(DamageError) as caught:
                read()
            assert str(caught.value).startswith(f"{file} is damaged ("), where
            assert "put a copy of it back, or delete it" in str(caught.value)
            assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"run": [1, 2], "tick": ["a", "b"]}), file)
    with pytest.raises(DamageError, match=r"is no file of this table: its column run holds int64, not string; move"):
        queries.read(storage, "e", "metrics")


def test_a_slot_is_compared_before_a_run_goes_on(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    whole_run(Ledger(storage, "e", "run", "a", slot=Slot(storage, "e", "s")), 4)
    assert set(last_ticks(storage, "e")) == {"run"}
    (file,) = (tmp_path / "e" / "settings").glob("slot-*.parquet")
    data = file.read_bytes()
    file.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    with pytest.raises(DamageError, match=r"settings/slot-s-0000.parquet is damaged"):
        last_ticks(storage, "e")


def test_files_without_checksums_are_read_as_before(storage: Storage) -> None:
    """As versions wrote them that had none."""
    before = queries.read(storage, "e", "metrics")
    (file,) = Path(storage.place, "e", "metrics").glob("*.parquet")
    pq.write_table(pq.read_table(io.BytesIO(file.read_bytes()), schema=SCHEMAS["metrics"]), file)
    pd.testing.assert_frame_equal(queries.read(storage, "e", "metrics"), before)


def test_a_run_goes_on_without_grids_that_are_damaged_and_that_is_said(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    row = {"experiment": "e", "run": "r", "attempt": "a", "tick": 1, "step": 1, "epoch": 1.0, "kind": "fakes"}
    history.save(storage, "e", "r", [{**row, "png": b"PNG"}])
    file = tmp_path / history.path("e", "r")
    assert [one["png"] for one in history.load(storage, "e", "r")] == [b"PNG"]
    for _, harmed in cuts(file.read_bytes()):
        file.write_bytes(harmed)
        take_remarks()
        assert history.load(storage, "e", "r") == []
        (line,) = take_remarks()
        assert line.startswith(f"{file} is damaged (")
        assert line.endswith("); the run goes on without these grids")
