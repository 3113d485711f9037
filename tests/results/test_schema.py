import math
from datetime import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
from example_rows import TIME, eval_row, outcome_row, run_row, when

from gen.results import SCHEMAS, TABLES, VERSION, Ledger, Storage
from gen.results.schema import check_row


def test_every_table_starts_with_who():
    for schema in SCHEMAS.values():
        assert schema.names[:3] == ["experiment", "run", "attempt"]
    assert TABLES[-1] == "outcomes"


def test_files_carry_the_schema_and_its_version(tmp_path):
    ledger = Ledger(Storage(str(tmp_path)), "e", "r", "a")
    ledger.add("evals", 0, **eval_row(0, math.nan))
    ledger.flush(0)
    written = pq.read_schema(tmp_path / "e" / "evals" / "r-000000.parquet")
    assert written.remove_metadata() == SCHEMAS["evals"].remove_metadata()
    assert written.metadata[b"genfleet.version"].decode() == VERSION
    assert written.metadata[b"genfleet.table"] == b"evals"


METRIC = when(1) | {"seconds": 1.0, "name": "x", "value": None}


@pytest.mark.parametrize(
    ("table", "row", "message"),
    [
        ("metric", METRIC, "unknown table 'metric'; allowed: runs, settings, metrics"),
        ("metrics", METRIC | {"colour": 1}, "metrics has no column colour; allowed: experiment, run"),
        ("metrics", when(1) | {"seconds": 1.0}, "metrics.name is missing"),
        ("metrics", METRIC | {"name": None}, "metrics.name is missing"),
        ("metrics", METRIC | {"name": 1}, "metrics.name=1 is of the wrong type or range; expected string"),
        ("metrics", METRIC | {"name": "\ud800"}, "metrics.name="),
        ("metrics", METRIC | {"value": "1"}, "metrics.value='1' .* expected double"),
        ("metrics", METRIC | {"value": True}, "metrics.value=True"),
        ("metrics", METRIC | {"step": 1.0}, "metrics.step=1.0 .* expected int64"),
        ("metrics", METRIC | {"step": True}, "metrics.step=True"),
        ("metrics", METRIC | {"step": 2**63}, "metrics.step=9223372036854775808"),
        ("runs", run_row(threads=2**31), "runs.threads=2147483648 .* expected int32"),
        ("runs", run_row(hosts="a"), "runs.hosts='a' .* expected list"),
        ("runs", run_row(hosts=["a", None]), "runs.hosts="),
        ("runs", run_row(started=datetime(2026, 1, 1)), "runs.started="),  # noqa: DTZ001
        ("runs", run_row(started="2026"), "runs.started='2026'"),
        ("samples", {"step": 1, "epoch": 1.0, "kind": "grid", "png": "text"}, "samples.png='text'"),
        ("outcomes", outcome_row(1, best=None, checkpoint=3), "outcomes.checkpoint=3"),
    ],
)
def test_wrong_rows_are_refused_at_once(tmp_path, table, row, message):
    ledger = Ledger(Storage(str(tmp_path)), "e", "r", "a")
    with pytest.raises(ValueError, match=message) as caught:
        ledger.add(table, 1, **row)
    assert "\n" not in str(caught.value)
    ledger.flush(1)
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_are_welcome():
    who = {"experiment": "e", "run": "r", "attempt": "a", "tick": np.int32(3)}
    row = check_row(
        "metrics", who | when(3) | {"seconds": np.float32(0.5), "name": "x", "value": 1, "step": np.int64(7)}
    )
    assert (row["tick"], row["seconds"], row["value"], row["step"]) == (3, 0.5, 1.0, 7)
    assert type(row["value"]) is float
    assert type(row["step"]) is int


def test_absent_nullable_columns_are_null():
    who = {"experiment": "e", "run": "r", "attempt": "a", "tick": 1}
    row = check_row("events", who | {"kind": "rung", "why": "", "detail": "{}", "time": TIME})
    assert row["epoch"] is row["decision"] is row["value"] is None
