"""Writes of a process that was stopped between its comparison with the lease and its put, and that arrive on an object
store when a later attempt is at work, or has ended."""

import functools
import hashlib
import io
import threading
from functools import cached_property

import pyarrow as pa
import pytest
import torch
from example_rows import KEY, TIME, begin, end, go, whole_run
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet as pq

from gen.record import checkpoint
from gen.results import TABLES, Ledger, Slot, Storage, closing, last_ticks, ledger, parquet
from gen.results.closing import close_slots
from gen.results.conditional import ChangedError, Conditional
from gen.results.fence import Fence, LostError
from gen.results.parquet import read_files
from gen.results.schema import SCHEMAS


class Puts(Conditional):
    """Conditional puts into a dict. Each calls `before` first; a tag is a checksum, as in the stores of most."""

    def __init__(self, files, before):
        self.files, self.before, self._tags = files, before, {}

    def look(self, path):
        return {"e_tag": hashlib.md5(self.files[path]).hexdigest()} if path in self.files else None

    def get(self, path):
        return (self.files[path], self.look(path)) if path in self.files else None

    def tail(self, path, count):
        return self.files[path][-count:] if path in self.files else None

    def put_if(self, path, data, expected):
        self.before()
        if self.look(path) != expected:
            raise ChangedError
        self.files[path] = data
        return self.look(path)


class Memory(Storage):
    """An object store in a dict."""

    def __init__(self, files, fence, before):
        self.files, self.fence, self.before = files, fence, before
        self.is_local, self.place, self.filesystem = False, "memory", self

    filesystem = None

    @cached_property
    def conditional(self):
        return Puts(self.files, self.before)

    def put(self, path, data, blank=None):
        if self.fence.conditions(path):
            super().put(path, data, blank)
        else:
            self.files[path] = data

    def get(self, path):
        return self.files.get(path)

    def stamps(self, folder):
        here = sorted(path for path in list(self.files) if path.rpartition("/")[0] == folder)
        return {path.rpartition("/")[2]: (0, 0) for path in here}

    def full(self, path):
        return path

    def open_input_file(self, path):
        return pa.BufferReader(self.files[path])

    def delete(self, path):
        self.fence.check(self)
        self.files.pop(path, None)


class Attempt(threading.Thread):
    """Trains runs, as a process that is stopped at its put number `stop`, until `go_on` is set. At its own put number
    `wake` the stopped ones before it go on, to their end."""

    def __init__(self, files, number, runs, cadence, stop=0, wake=0, stopped=()):
        super().__init__(daemon=True)
        self.stop, self.wake, self.earlier = stop, wake, stopped
        self.count, self.is_there, self.go_on, self.error = 0, threading.Event(), threading.Event(), None
        self.name = f"r{number:08d}-a"
        self.storage = Memory(files, Fence("e", self.name, True), self.before)
        self.runs, self.cadence = runs, cadence

    def before(self):
        self.count += 1
        if self.count == self.wake:
            self.end_earlier()
        if self.count == self.stop:
            self.is_there.set()
            self.go_on.wait()

    def end_earlier(self):
        for one in self.earlier:
            one.go_on.set()
            one.join()

    def run(self):
        try:
            self.storage.put(f"e/_lease/{self.name}.holds", b"")
            close_slots(self.storage)
            self.slot, self.scheduler = (Slot(self.storage, "e", f"{self.name}-{kind}") for kind in ("1", "scheduler"))
            for run, ticks in self.runs.items():
                self.decide(run)
                self.train(run, ticks)
        except (OSError, RuntimeError, ValueError) as error:
            self.error = error
        finally:
            self.is_there.set()

    def on_record(self, table):
        return set(read_files(self.storage, f"e/{table}", SCHEMAS[table], columns=["run"])["run"].to_pylist())

    def decide(self, run):
        """As a scheduler does, once for each run."""
        if run not in self.on_record("events"):
            row = {"experiment": "e", "run": run, "attempt": self.name, "tick": 1, "kind": "rung"}
            row |= {"why": "", "detail": "{}", "time": TIME}
            self.scheduler.extend({"events": [row]})

    def train(self, run, ticks):
        """As the engine does: rows, then checkpoint."""
        if run in self.on_record("outcomes"):
            return
        path = f"e/_checkpoints/{run}/last.pt"
        checkpoint.adopt(self.storage, path)
        state = checkpoint.load(self.storage, path, torch.device("cpu"))
        first = 1 + state["progress"]["tick"] if state else 0
        known = last_ticks(self.storage, "e").get(run, {})
        own = Ledger(self.storage, "e", run, self.name, first=first, slot=self.slot, last_ticks=known)
        if not state:
            begin(own)
        for tick in range(max(first, 1), ticks + 1):
            go(own, tick)
            if tick % self.cadence == 0 and tick < ticks:
                own.flush(tick)
                checkpoint.save(self.storage, path, {"config": "", "stepper": {}, "progress": {"tick": tick}})
        end(own, ticks)
        own.close(ticks)
        self.storage.delete(path)


def keys_in(files):
    """Table -> the keys of all rows, each as often as it is there."""
    found = {}
    for table in TABLES:
        here = [data for path, data in files.items() if path.startswith(f"e/{table}/")]
        rows = [row for data in here for row in pq.read_table(io.BytesIO(data), columns=KEY[table]).to_pylist()]
        found[table] = sorted(tuple(row.values()) for row in rows)
    return found


def train_all(runs, cadences, stops, wakes):
    """The files that three attempts leave, of which the first two are stopped and go on late."""
    files, stopped = {}, []
    for number, (cadence, stop, wake) in enumerate(zip(cadences, [*stops, 0], [0, *wakes], strict=True), start=1):
        now = Attempt(files, number, runs, cadence, stop, wake, stopped)
        now.start()
        now.is_there.wait()
        stopped = [*stopped, now]
    stopped[-1].end_earlier()
    return files, [one.error for one in stopped]


@pytest.fixture(scope="module", autouse=True)
def small():
    """Slots that are full with two runs, and one file at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "SLOT_RUNS", 2)
        patch.setattr(parquet, "AT_ONCE", 1)
        yield


MANY = {"run0": 1, "run1": 4, "run2": 1, "run3": 1, "run4": 3}
ONE = {"run": 6}
PUTS = st.integers(1, 120)


@functools.cache
def undisturbed(*runs):
    return keys_in(train_all(dict(runs), [9, 9, 9], [0, 0], [0, 0])[0])


@given(
    runs=st.sampled_from([MANY, ONE]),
    cadences=st.lists(st.integers(1, 5), min_size=3, max_size=3),
    stops=st.tuples(PUTS, PUTS),
    wakes=st.tuples(PUTS, PUTS),
)
@example(MANY, [2, 5, 1], (33, 16), (64, 58))  # a slot
@example(MANY, [5, 1, 3], (4, 3), (4, 84))  # the first file of a slot
@example(ONE, [3, 4, 4], (14, 12), (7, 30))  # a checkpoint
def test_no_interleaving_doubles_or_loses_a_row(runs, cadences, stops, wakes):
    files, errors = train_all(runs, cadences, stops, wakes)
    assert errors[-1] is None
    assert all(error is None or isinstance(error, LostError) for error in errors)
    assert keys_in(files) == undisturbed(*runs.items())


def opened(files, rank):
    """The store as an attempt of this rank sees it."""
    return Memory(files, Fence("e", f"r{rank:08d}-a", True), lambda: None)


def test_each_slot_is_closed_once(monkeypatch):
    """With other bytes, and with the same rows; those too that do not fit into a slot file."""
    monkeypatch.setattr(ledger, "SLOT_BYTES", 1 << 14)
    files = {}
    slot = Slot(opened(files, 1), "e", "r00000001-a-1")
    whole_run(Ledger(slot.storage, "e", "run", "a", slot=slot), 2)
    whole_run(Ledger(slot.storage, "e", "long", "a", slot=slot), 500)
    before, rows = dict(files), keys_in(files)
    slots = [path for path in files if "/slot-" in path]
    assert {len(files[path]) > ledger.SLOT_BYTES for path in slots} == {True, False}
    last = {path for path in slots if path.replace("-0000.", "-0001.") not in before or "-0001." in path}
    assert close_slots(opened(files, 3)) == len(last)
    assert {path for path in slots if files[path] != before[path]} == last
    assert [len(data) for data in before.values()] == [len(files[path]) for path in before]
    assert keys_in(files) == rows
    assert close_slots(opened(files, 4)) == 0
    assert [path for path in files if path.endswith(closing.CLOSED)] == ["e/_lease/r00000004-a.closed"]


def test_what_has_no_gap_stays():
    """A file of an earlier version, and one that is cut."""
    for data in (ledger.encode([], SCHEMAS["runs"], {}, None), b"PAR1", b""):
        assert closing.other_gap(data) is None


def test_a_checkpoint_is_adopted_once():
    files, path = {}, "e/_checkpoints/run/last.pt"
    assert not checkpoint.adopt(opened(files, 1), path)
    checkpoint.save(opened(files, 1), path, {"config": "", "stepper": {"a": torch.ones(2)}, "progress": {}})
    first = files[path]
    assert not checkpoint.adopt(opened(files, 1), path)
    assert checkpoint.adopt(opened(files, 2), path)
    assert files[path] != first
    state = checkpoint.load(opened(files, 2), path, torch.device("cpu"))
    assert state["stepper"]["a"].tolist() == [1, 1]
    assert not checkpoint.adopt(opened(files, 2), path)


def test_a_blank_checkpoint_is_none():
    files = {"e/last.pt": checkpoint.new_blank()}
    assert checkpoint.load(opened(files, 2), "e/last.pt", torch.device("cpu")) is None
    blank = files["e/last.pt"]
    assert checkpoint.adopt(opened(files, 2), "e/last.pt")
    assert files["e/last.pt"] != blank
    assert checkpoint.load(opened(files, 2), "e/last.pt", torch.device("cpu")) is None


@pytest.mark.parametrize("size", [0, 9000])
def test_a_blank_file_has_a_size_and_no_rows(size):
    """So that a reader who has listed it reads whole what comes in its place."""
    one, other = ledger.blank(SCHEMAS["metrics"], size), ledger.blank(SCHEMAS["metrics"], size)
    assert one != other
    assert len(one) == len(other) >= size
    assert size == 0 or len(one) == size
    assert pq.read_table(io.BytesIO(one)).num_rows == 0
