"""What is read fast against the same question to plain pandas, which reads everything and then looks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen import results
from gen.results import Slot, Storage, queries
from gen.results import parquet as files
from gen.results.ranking import costs
from gen.results.schema import LATER_SECONDS, SCHEMAS
from jobs.bench.fleet import Fleet, Form

RUNS, TICKS = 40, 3
ASKED = {"metrics": ["name"], "evals": ["scope", "split", "metric"], "events": ["kind"], "outcomes": ["status"]}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Slots with runs of both scopes, and figures of leaders, of which one was measured twice."""
    storage = Storage(str(tmp_path_factory.mktemp("fleet")))
    fleet = Fleet("e", RUNS, TICKS, processes=2, leaders=6, attempt="a")
    fleet.write(storage)
    ends = results.outcomes(storage, "e").sort_values("ended")
    best = int(ends["best"].argmin())  # runs end in the order of their numbers
    slot = Slot(storage, "e", "b-again", kind="evaluated")
    slot.extend({table: rows.to_pylist() for table, rows in Form(fleet, "b").of_leader(best, 0.25).items()})
    return storage


def plain(storage: Storage, table: str) -> pd.DataFrame:
    """A table as users read it."""
    found = pd.read_parquet(Path(storage.place, "e", table), dtype_backend="pyarrow")
    return found[SCHEMAS[table].names]


@given(st.data())
def test_rows_are_those_that_plain_pandas_finds(fleet: Storage, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(["runs", "settings", *ASKED]))
    whole = plain(fleet, table)
    equal = {}
    for column in data.draw(st.sets(st.sampled_from(["run", *ASKED.get(table, [])]))):
        values = st.sampled_from([*sorted(whole[column].unique()), "nobody"])
        equal[column] = data.draw(values | st.sets(values, max_size=3))
    columns = data.draw(st.lists(st.sampled_from(SCHEMAS[table].names), min_size=1, unique=True) | st.none())
    wanted = pd.Series(True, index=whole.index)
    for column, value in equal.items():
        wanted &= whole[column].isin(value if isinstance(value, set) else {value})
    expected = whole[wanted].reset_index(drop=True)[columns or SCHEMAS[table].names]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "SMALL", data.draw(st.sampled_from([1000, files.SMALL])))  # as if files were large
        patch.setattr(files, "THREADS", data.draw(st.sampled_from([1, 3])))
        patch.setattr(files, "TOGETHER", data.draw(st.sampled_from([1, 2, 8])))
        found = queries.read(fleet, "e", table, equal, columns)
    pd.testing.assert_frame_equal(found, expected)


def test_the_seconds_of_runs_are_those_that_plain_pandas_adds_up(fleet: Storage) -> None:
    logged, ends = plain(fleet, "metrics"), plain(fleet, "outcomes").set_index("run")["seconds"]
    later = logged[logged["name"] == LATER_SECONDS].groupby("run")["value"].sum()
    expected = (ends + later.reindex(ends.index).fillna(0.0)).to_dict()
    assert sorted(later) == [0.5] * 5 + [1.0]
    board = results.leaderboard(fleet, "e")
    assert costs(fleet, "e") == dict(zip(board["run"], board["seconds"], strict=True)) == pytest.approx(expected)
