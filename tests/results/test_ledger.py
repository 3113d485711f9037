import math
import tempfile
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from example_rows import all_keys, begin, end, eval_row, expected, go, keys, plain, whole_run
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.results import SCHEMAS, TABLES, Ledger, Slot, Storage, last_ticks, new_attempt
from gen.results.ledger import SLOT_BYTES
from gen.results.manifest import shortfall
from gen.results.queries import read
from gen.results.survey import survey
from tests.fixtures.examples import examples

FIXED = ("experiment", "run", "attempt", "tick")
OF_TYPE = {
    pa.string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.float64(): st.floats(),
    pa.binary(): st.binary(max_size=16),
    pa.bool_(): st.booleans(),
    pa.list_(pa.string()): st.lists(st.text(max_size=4), max_size=3),
    pa.timestamp("us", tz="UTC"): st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
}
OF_TYPE[pa.list_(pa.string())] = st.lists(OF_TYPE[pa.string()], max_size=3)


@st.composite
def any_rows(draw):
    table = draw(st.sampled_from(TABLES))
    columns = {
        field.name: st.none() | OF_TYPE[field.type] if field.nullable else OF_TYPE[field.type]
        for field in SCHEMAS[table]
        if field.name not in FIXED
    }
    return table, draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=6))


def alike(a, b):
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


@settings(max_examples=examples(150))
@given(any_rows(), st.booleans())
def test_rows_come_back_as_they_were(table_and_rows, through_slot):
    table, rows = table_and_rows
    with tempfile.TemporaryDirectory() as place:
        storage = Storage(place)
        ledger = Ledger(storage, "e", "run", "a", slot=Slot(storage, "e", "s") if through_slot else None)
        for tick, row in enumerate(rows):
            ledger.add(table, tick, **row)
        ledger.close(len(rows))
        frame = read(storage, "e", table)
        back = pa.Table.from_pandas(frame, schema=SCHEMAS[table], preserve_index=False).to_pylist()
        assert len(plain(place, "e", table)) == len(back) == len(rows)
        for tick, (row, found) in enumerate(zip(rows, back, strict=True)):
            fixed = {"experiment": "e", "run": "run", "attempt": "a"}
            if "tick" in SCHEMAS[table].names:
                fixed["tick"] = tick
            assert all(alike(found[name], content) for name, content in (row | fixed).items()), (row, found)


def test_attempts_are_ordered_and_unique():
    ids = [new_attempt() for _ in range(1000)]
    assert ids == sorted(set(ids))


def test_files_are_named_by_run_and_first_tick(storage, place):
    ledger = Ledger(storage, "e", "run", "a")
    begin(ledger)
    go(ledger, 0)
    ledger.flush(0)
    go(ledger, 1)
    go(ledger, 2)
    ledger.flush(2)
    end(ledger, 3)
    ledger.close(3)
    assert storage.list("e/runs") == ["run-000000.parquet"]
    assert storage.list("e/metrics") == ["run-000000.parquet", "run-000001.parquet"]
    assert storage.list("e/outcomes") == ["run-000003.parquet"]
    assert len(keys(plain(place, "e", "metrics"), "metrics")) == 9


def test_rows_of_a_flushed_tick_are_refused(storage):
    ledger = Ledger(storage, "e", "run", "a")
    begin(ledger)
    ledger.flush(5)
    with pytest.raises(ValueError, match="tick 4 of run run was flushed; ticks go on from 6"):
        end(ledger, 4)


def test_resume_overwrites_what_no_checkpoint_vouches_for(storage, place):
    first = Ledger(storage, "e", "run", "a1")
    begin(first)
    for tick in range(3):
        go(first, tick)
    first.flush(2)  # with a checkpoint of tick 2
    for tick in range(3, 7):
        go(first, tick)
    end(first, 6)
    first.close(6)  # killed before its checkpoint
    again = Ledger(storage, "e", "run", "a2", first=3)
    for tick in range(3, 5):
        go(again, tick)
    again.flush(4)
    assert all_keys(place, "e")["outcomes"] == set()  # the end that is to come again does not stand beside it
    for tick in range(5, 8):
        go(again, tick)
    end(again, 7)
    again.close(7)
    assert all_keys(place, "e") == {table: expected("run", 8, table) for table in TABLES}


def test_restart_from_nothing_replaces_everything(storage, place):
    first = Ledger(storage, "e", "run", "a1")
    begin(first)
    for tick in range(6):
        go(first, tick)
        first.flush(tick)
    whole_run(Ledger(storage, "e", "run", "a2", slot=Slot(storage, "e", "s")), 4)  # its checkpoint was lost
    assert all_keys(place, "e") == {table: expected("run", 4, table) for table in TABLES}


@settings(max_examples=examples(25))
@given(st.data())
def test_law_of_attempts(data):
    """Whatever the ticks of flushes and kills: at the end every row is there once."""
    ticks = data.draw(st.integers(1, 12))
    with tempfile.TemporaryDirectory() as place:
        storage, checkpoint, done = Storage(place), -1, False
        while not done:
            first = checkpoint + 1
            ledger = Ledger(storage, "e", "run", new_attempt(), first=first, slot=Slot(storage, "e", new_attempt()))
            ledger.last_ticks = last_ticks(storage, "e").get("run", {})
            if first == 0:
                begin(ledger)
            for tick in range(first, ticks):
                go(ledger, tick)
                if tick == ticks - 1:
                    end(ledger, tick)
                    ledger.close(tick)
                    done = not data.draw(st.booleans())  # or killed before its last checkpoint
                    break
                fate = data.draw(st.sampled_from(["on", "on", "flushed", "killed", "checkpoint", "checkpoint"]))
                if fate == "killed":
                    break
                if fate in ("flushed", "checkpoint"):
                    ledger.flush(tick)
                    if fate == "flushed":  # killed before the checkpoint
                        break
                    checkpoint = tick
        assert all_keys(place, "e") == {table: expected("run", ticks, table) for table in TABLES}
        assert survey(storage, "e").faults() == []  # what files say of each other outlives kills
        assert shortfall(storage, "e") == ""


def test_slot_files_keep_their_size_and_their_rows_in_place(storage):
    slot = Slot(storage, "e", "s")
    seen = {}
    for index in range(40):
        whole_run(Ledger(storage, "e", f"run{index}", "a", slot=slot), 4)
        for name in storage.list("e/evals"):
            data = storage.get(f"e/evals/{name}")
            assert len(data) == SLOT_BYTES
            body = data.rstrip(b"\0") if name not in seen else data
            seen.setdefault(name, body)
            before = seen[name]
            gap = before.index(bytes(64)) if bytes(64) in before else len(before)
            assert data[:gap] == before[:gap]  # what a reader found at an offset stays there
            seen[name] = data
        if len(seen) > 1:
            break
    assert len(seen) == 2
    assert len(read(storage, "e", "outcomes")) == index + 1


def test_a_replaced_slot_file_still_reads_for_who_listed_it_before(storage):
    slot = Slot(storage, "e", "s")
    whole_run(Ledger(storage, "e", "run0", "a", slot=slot), 4)
    listed = ds.dataset(storage.full("e/metrics"), filesystem=storage.filesystem, format="parquet")
    also = ds.dataset(storage.full("e/metrics"), filesystem=storage.filesystem, format="parquet")
    opened = next(iter(also.get_fragments()))
    opened.ensure_complete_metadata()
    before = opened.to_table()
    for index in range(1, 12):
        whole_run(Ledger(storage, "e", f"run{index}", "a", slot=slot), 4)
    assert opened.to_table().equals(before)  # who had the footer reads the state of then
    assert listed.to_table().num_rows == 12 * before.num_rows  # who had the name and size reads the state of now


def test_long_runs_get_a_slot_file_of_their_own(storage):
    slot = Slot(storage, "e", "s")
    for index, count in enumerate((1, 30_000, 1)):
        ledger = Ledger(storage, "e", f"run{index}", "a", slot=slot)
        for tick in range(count):
            ledger.add("evals", tick, **eval_row(tick, hash(str(tick)) / 2**64))
        ledger.close(count)
    sizes = [len(storage.get(f"e/evals/{name}")) for name in storage.list("e/evals")]
    assert sizes[0] == sizes[2] == SLOT_BYTES < sizes[1]
    assert len(read(storage, "e", "evals")) == 30_002


def test_many_short_runs_make_few_files(tmp_path):
    storage = Storage(str(tmp_path))
    slot = Slot(storage, "e", "s")
    for index in range(60):
        whole_run(Ledger(storage, "e", f"run{index}", "a", slot=slot), 5)
    assert max(len(storage.list(f"e/{table}")) for table in TABLES) <= 2  # so 10,000 runs make some 300 a table


def test_recorded(storage):
    assert last_ticks(storage, "e") == {}
    whole_run(Ledger(storage, "e", "short", "a", slot=Slot(storage, "e", "s")), 3)
    whole_run(Ledger(storage, "e", "long", "a"), 3)
    assert last_ticks(storage, "e") == {
        "short": {"runs": 0, "settings": 0, "metrics": 2, "evals": 2, "samples": 0, "outcomes": 2}
    }


def test_names_are_checked(storage):
    for name in ("", "a/b", "_cache", ".hidden", "..", "a b"):
        with pytest.raises(ValueError, match="is not a name"):
            Ledger(storage, name, "run", "a")


def test_the_clock_of_attempts_reads_as_utc():
    now = datetime.now(UTC)
    moment = datetime.strptime(new_attempt().split("-")[0], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
    assert abs(moment - now) < timedelta(seconds=5)


def test_an_end_may_come_after_its_checkpoint(storage, place):
    ledger = Ledger(storage, "e", "run", "a")
    begin(ledger)
    for tick in range(4):
        go(ledger, tick)
    ledger.flush(3)  # with a checkpoint of tick 3
    for attempt in ("a2", "a3"):  # the first is killed while it writes the end
        again = Ledger(storage, "e", "run", attempt, first=4)
        end(again, 3)
        again.close(3)
    assert all_keys(place, "e") == {table: expected("run", 4, table) for table in TABLES}


def test_a_schedulers_events_do_not_hide_those_of_the_run(storage):
    decision = {"experiment": "e", "run": "run", "attempt": "a", "tick": 5, "kind": "rung", "why": "", "detail": "{}"}
    Slot(storage, "e", "scheduler").extend({"events": [decision | {"time": datetime.now(UTC)}]})
    ledger = Ledger(storage, "e", "run", "a", first=3, last_ticks=last_ticks(storage, "e").get("run", {}))
    ledger.add("events", 3, kind="resume", why="", detail="{}", time=datetime.now(UTC))
    ledger.close(3)
    assert sorted(read(storage, "e", "events")["kind"]) == ["resume", "rung"]
