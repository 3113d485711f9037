"""Experiments of many short runs: what a search leaves, and what the queries read of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from gen import results
from gen.damage import DamageError
from gen.results import TABLES, Slot, Storage, queries
from gen.results import parquet as files
from gen.results.pivot import encode
from jobs.bench.fleet import Fleet, Form

RUNS, TICKS = 9, 12


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    storage = Storage(str(tmp_path_factory.mktemp("fleet")))
    Fleet("e", RUNS, TICKS, processes=2, leaders=3, attempt="a").write(storage)
    return storage


def test_the_benchmark_writes_what_slots_write(tmp_path: Path) -> None:
    """Byte by byte, where a slot file is full too."""
    fleet = Fleet("e", 34, 2, processes=1, leaders=2, attempt="a")
    quick, real = Storage(str(tmp_path / "quick")), Storage(str(tmp_path / "real"))
    fleet.write(quick)
    form = Form(fleet, "a")
    slots = {name.rsplit("-", 1)[0] for name in quick.list("e/evals")}
    values = pd.Series(queries.read(quick, "e", "outcomes").sort_values("ended")["best"].to_numpy())
    own = Slot(real, "e", "a-00000000")
    for number, value in values.items():
        own.extend({table: rows.to_pylist() for table, rows in form.of_run(number, value).items()})
    assert len(slots) == 2
    for table in ("runs", "settings", "metrics", "evals", "outcomes"):
        names = [name for name in quick.list(f"e/{table}") if name.startswith("slot-")]
        assert names == real.list(f"e/{table}")
        for name in names:
            assert quick.get(f"e/{table}/{name}") == real.get(f"e/{table}/{name}"), name
    assert len(real.list("e/metrics")) > 1


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_those_of_each_run(fleet: Storage, table: str) -> None:
    """By statistics, by other columns, and in some columns: always the rows that a filter of all of them leaves."""
    whole = queries.read(fleet, "e", table)
    some = sorted(whole["run"].unique())[1:4:2]
    for wanted in (some[:1], some, ["nobody"]):
        expected = whole[whole["run"].isin(wanted)].reset_index(drop=True)
        pd.testing.assert_frame_equal(queries.read(fleet, "e", table, {"run": set(wanted)}), expected)
        found = queries.read(fleet, "e", table, {"run": set(wanted)}, columns=["attempt"])
        pd.testing.assert_frame_equal(found, expected[["attempt"]])
    if table == "metrics":
        expected = whole[whole["name"] == "autoencoder/rate"].reset_index(drop=True)
        pd.testing.assert_frame_equal(queries.read(fleet, "e", table, {"name": "autoencoder/rate"}), expected)


def test_curves_of_several_runs(fleet: Storage) -> None:
    names = sorted(results.runs(fleet, "e")["run"])[:3]
    found = results.curves(fleet, "e", "loss", [name[:12] for name in names])
    alone = [results.curves(fleet, "e", "loss", name) for name in names]
    pd.testing.assert_frame_equal(found, pd.concat(alone, ignore_index=True))
    assert len(found) == 3 * TICKS
    with pytest.raises(ValueError, match="no run 'x' in experiment e; there are"):
        results.curves(fleet, "e", "loss", [names[0], "x"])


def test_some_columns_are_those_of_all(fleet: Storage) -> None:
    for ask, columns in ((results.runs, ["run", "entry"]), (results.outcomes, ["best", "run"])):
        pd.testing.assert_frame_equal(ask(fleet, "e", columns=columns), ask(fleet, "e")[columns])


def test_settings_wide_and_long_say_the_same(fleet: Storage) -> None:
    wide, long = results.settings(fleet, "e"), results.settings(fleet, "e", wide=False)
    assert len(wide) == RUNS
    for key, rows in long.groupby("key"):
        texts = dict(zip(rows["run"], rows["text"], strict=True))
        for run, value in zip(wide["run"], wide[key], strict=True):
            text = texts[run]
            assert (
                (text == value)
                if isinstance(value, str)
                else (float(value) == float({"true": 1, "false": 0}.get(text, text)))
            )


def test_a_large_file_is_read_in_parts(fleet: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {table: queries.read(fleet, "e", table, {"run": None}) for table in TABLES}
    monkeypatch.setattr(files, "SMALL", 1000)  # as if they were larger
    monkeypatch.setattr(files, "TAIL", 3000)
    for table in TABLES:
        pd.testing.assert_frame_equal(queries.read(fleet, "e", table), before[table])


def test_a_column_of_another_kind_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    storage = Storage(str(tmp_path))
    Fleet("e", 2, 2, processes=1, attempt="a").write(storage)
    (name,) = (one for one in storage.list("e/outcomes"))
    path = tmp_path / "e" / "outcomes" / name
    rows = pq.read_table(path)
    large = rows.set_column(1, "run", rows["run"].cast(pa.large_string()))
    pq.write_table(large, path)  # as other writers of Parquet choose
    assert sorted(results.outcomes(storage, "e")["run"]) == sorted(rows["run"].to_pylist())
    pq.write_table(rows.set_column(1, "run", pa.array([1, 2])), path)
    with pytest.raises(DamageError, match="is no file of this table: its column run holds int64, not string"):
        results.outcomes(storage, "e")


def test_places_in_order() -> None:
    """Of texts, numbers, NaN and nulls, in one array or several."""
    for values, expected in (
        (["b", None, "a", "b"], [1, 2, 0, 1]),
        ([2.5, float("nan"), None, -1.0], [1, 2, 3, 0]),
        ([], []),
    ):
        kind = pa.string() if values[:1] == ["b"] else pa.float64()
        whole = pa.array(values, kind)
        pieces = pa.chunked_array([whole[:2], whole[2:]])
        for one in (whole, pieces, pieces.dictionary_encode()):
            assert encode(one)[0].tolist() == expected
    assert list(itertools.chain(encode(pa.array(["b", "a"]))[1].to_pylist())) == ["a", "b"]
