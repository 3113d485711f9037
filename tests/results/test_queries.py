"""What reads the tables: whole ones, settings, filters, names of runs, files of other versions."""

import math
import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from example_rows import plain, when, whole_search

from gen import results
from gen.results import SCHEMAS, Ledger

local = pytest.mark.parametrize("place", ["local"], indirect=True)  # the rest holds for an object store too


def test_wrong_questions(storage, place):
    whole_search(storage, "one")
    whole_search(storage, "two")
    with pytest.raises(ValueError, match=r"no experiment 'three' in .*; there are: one, two"):
        results.metrics(place, "three")
    with pytest.raises(ValueError, match="mode='least' is not known; allowed: min, max"):
        results.leaderboard(place, "one", mode="least")
    assert set(results.outcomes(place)["experiment"]) == {"one", "two"}
    assert len(results.runs(storage)) == 12


def test_nothing_there(place):
    with pytest.raises(ValueError, match=r"no experiment 'e' in .*; there are: none"):
        results.runs(place, "e")
    for table in ("runs", "metrics", "evals", "samples", "events", "outcomes"):
        frame = getattr(results, table)(place)
        assert frame.empty
        assert list(frame.columns) == SCHEMAS[table].names
    assert results.settings(place).empty


@local
def test_settings_wide_and_long(storage, place):
    whole_search(storage)
    wide = results.settings(place, "e").set_index("run")
    assert list(wide.columns) == ["experiment", "budget.epochs", "model.beta", "model.name", "train.batch"]
    assert wide["train.batch"].dtype == pd.ArrowDtype(pa.int64())
    assert wide["model.beta"].dtype == pd.ArrowDtype(pa.float64())
    assert wide["model.beta"]["run1"] == 0.5
    assert wide["model.name"]["run1"] == "n1"
    assert pd.isna(wide["model.name"]["live"])
    assert len(results.settings(place, "e", wide=False)) == 15


@local
def test_nan_is_a_value_and_null_is_not_reported(storage, place):
    ledger = Ledger(storage, "e", "run", "a")
    for tick, number in enumerate([math.nan, None, math.inf, 1.0]):
        ledger.add("metrics", tick, **when(tick), seconds=0.0, name="x", value=number)
    ledger.close(3)
    for frame in (results.metrics(place, "e"), plain(place, "e", "metrics")):
        values = pa.array(frame["value"]).to_pylist()
        assert math.isnan(values[0])
        assert values[1:] == [None, math.inf, 1.0]


@local
def test_filters(storage, place):
    whole_search(storage)
    assert set(results.metrics(place, "e", name="autoencoder/rate")["name"]) == {"autoencoder/rate"}
    assert set(results.metrics(place, "e", run="run1")["run"]) == {"run1"}
    assert set(results.evals(place, "e", scope="best")["scope"]) == {"best"}
    assert results.evals(place, "e", metric="fid").empty
    assert len(results.samples(place, "e", kind="reconstructions")) == 4
    assert results.samples(place, "e")["png"][0].startswith(b"\x89PNG")


def test_an_old_schema_file_first_in_the_folder_loses_nothing(storage, place, tmp_path):
    """Readers that infer take the first file's columns; an older version's file lacks those added since."""
    whole_search(storage)
    old = results.queries.read(place, "e", "evals").head(1).drop(columns=["resize", "features_hash"])
    old["run"] = "old"
    file = tmp_path / "old.parquet"
    old.to_parquet(file)
    storage.put("e/evals/000-000000.parquet", file.read_bytes())
    frame = results.evals(place, "e").set_index("run")
    assert list(frame.columns) == [name for name in SCHEMAS["evals"].names if name != "run"]
    assert pd.isna(frame["features_hash"]["old"])
    assert set(frame["features_hash"].dropna()) == {"f1"}
    assert len(frame) == len(plain(place, "e", "evals"))


def test_what_does_not_belong_is_skipped(storage, place):
    whole_search(storage)
    count = len(results.metrics(place, "e"))
    storage.put("e/metrics/_manifest.json", b"{}")
    storage.put("e/metrics/.run9-000000.parquet.17.half", b"PAR1")
    storage.put("e/_checkpoints/run0/last.pt", b"weights")
    storage.put("_cache/classifier", b"weights")
    assert len(results.metrics(place, "e")) == len(plain(place, "e", "metrics")) == count
    assert set(results.runs(place)["experiment"]) == {"e"}


def test_a_folder_whose_parents_look_hidden_or_partitioned(tmp_path):
    place = str(tmp_path / ".hidden" / "_under" / "year=2026 ü")
    whole_search(results.Storage(place))
    assert len(results.metrics(place, "e")) == len(plain(place, "e", "metrics")) == 12
    assert "year" not in plain(place, "e", "metrics").columns
    shutil.rmtree(place)


def test_files_say_their_version(tmp_path):
    whole_search(results.Storage(str(tmp_path)))
    for file in tmp_path.glob("e/*/*.parquet"):
        assert pq.read_schema(file).metadata[b"genfleet.version"] == results.VERSION.encode()


@local
def test_a_run_by_the_beginning_of_its_name(storage, place):
    whole_search(storage)
    for function in (results.metrics, results.evals, results.samples, results.events):
        pd.testing.assert_frame_equal(function(place, "e", run="liv"), function(place, "e", run="live"))
        assert set(function(place, "e", run="run1")["run"]) <= {"run1"}
        with pytest.raises(
            ValueError, match="run 'run' of experiment e is the beginning of 3 names: run0, run1, run2;"
        ):
            function(place, "e", run="run")
        with pytest.raises(ValueError, match="no run 'nobody' in experiment e; there are: failed, live, run0"):
            function(place, "e", run="nobody")
    assert set(results.curves(place, "e", ["autoencoder/distortion"], run="liv")["run"]) == {"live"}
    assert results.find_run(place, None, "st") == "stopped"
