"""What a lease's holder notes of its files: lost rows that no other file tells of are told, and a kill is no loss."""

from __future__ import annotations

import copy
import pickle
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from example_rows import TIME, eval_row, when, whole_run
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.damage import take_remarks
from gen.results import Lease, Ledger, Slot, Storage
from gen.results.fence import Fence
from gen.results.manifest import shortfall
from gen.results.survey import survey
from gen.results.written import noted
from jobs import board, check, compact
from tests.conftest import wait_for


def event(run: str, attempt: str, tick: int) -> dict[str, Any]:
    row = {"experiment": "e", "run": run, "attempt": attempt, "tick": tick, "kind": "rung"}
    return row | {"why": "", "detail": "{}", "time": TIME}


def figures(run: str, attempt: str, tick: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of two tables, as measuring a run gives them."""
    own = {"experiment": "e", "run": run, "attempt": attempt, "tick": tick}
    logged = when(tick) | {"seconds": 1.0, "name": "evaluate/seconds", "value": 1.0}
    return {"metrics": [own | logged], "evals": [own | eval_row(tick, 1.0)]}


def decide(storage: Storage, attempt: str, runs: int, kind: str = "proposed") -> None:
    slot = Slot(storage, "e", f"{attempt}-{kind}", kind=kind)
    for number in range(runs):
        slot.extend({"events": [event(f"run{number}", attempt, 0)]})


def missing(storage: Storage) -> dict[tuple[str, str], int]:
    found = Counter[tuple[str, str]]()
    for fault in survey(storage, "e").faults():
        if fault.kind == "missing":
            found[fault.table, fault.run] += fault.count
    return found


def test_lost_decisions_are_told(storage: Storage) -> None:
    """The whole table, of several files; those of one kind; and one file of several, of a merged folder too."""
    with Lease(storage, "e") as lease:
        decide(lease.storage, lease.attempt, 40)  # more than one file holds
        decide(lease.storage, lease.attempt, 2, "forgotten")
    assert missing(storage) == {}
    assert shortfall(storage, "e") == ""
    names = storage.list("e/events")
    assert len(names) == 3
    files = {name: storage.get(f"e/events/{name}") or b"" for name in names}
    for gone, rows in ((names, 42), (names[:1], 2), (names[1:2], 32), (names[2:], 8)):
        for name in gone:
            storage.delete(f"e/events/{name}")
        assert missing(storage) == {("events", ""): rows}
        line = shortfall(storage, "e")
        assert line == f"e lacks what was written: {rows} rows of events; python -m jobs.check --name e says more"
        for name in gone:
            storage.put(f"e/events/{name}", files[name])
    assert missing(storage) == {}


def test_jobs_tell_of_lost_decisions(tmp_path: Path) -> None:
    storage, at = Storage(str(tmp_path)), ["--storage", str(tmp_path), "--name", "e"]
    with Lease(storage, "e") as lease:
        decide(lease.storage, lease.attempt, 40)
        slot = Slot(lease.storage, "e", f"{lease.attempt}-1")
        whole_run(Ledger(lease.storage, "e", "run", lease.attempt, slot=slot), 2)
    assert CliRunner().invoke(compact.main, at).exit_code == 0
    assert shortfall(storage, "e") == ""
    shutil.rmtree(tmp_path / "e" / "events")
    done = CliRunner().invoke(check.main, at)
    assert done.exit_code == 1
    assert f"missing    events    40 rows, of files proposed-{lease.attempt}-proposed\n" in done.stdout
    for job in (board, compact):
        line = CliRunner().invoke(job.main, at).stderr.splitlines()[0]
        assert line.startswith("e lacks what was written: 40 rows of events; "), job.__name__
    shutil.rmtree(tmp_path / "e" / "outcomes")  # of which other files tell too; it may have been cut, but was noted
    assert missing(storage) == {("events", ""): 40, ("outcomes", "run"): 1}


def test_a_heartbeat_notes_what_a_killed_job_wrote(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with Lease(storage, "e", seconds=0.6) as lease:
        decide(lease.storage, lease.attempt, 2)
        wait_for(lambda: sum(noted(storage, "e/_lease").values()) == 2)
        shutil.copytree(tmp_path, tmp_path / "killed", ignore=shutil.ignore_patterns("killed", "events"))
    assert missing(Storage(str(tmp_path / "killed"))) == {("events", ""): 2}


def test_damaged_notes_are_a_remark(storage: Storage) -> None:
    with Lease(storage, "e") as lease:
        decide(lease.storage, lease.attempt, 1)
    path = f"e/_lease/{lease.attempt}.written"
    data = storage.get(path) or b""
    for harmed in (b"", data[:-2], data.replace(b"[1]", b"[2]"), b"[]"):
        storage.put(path, harmed)
        assert shortfall(storage, "e") == ""
        (line,) = take_remarks()
        assert line.startswith(f"{storage}/{path} is damaged: ")


class Kill(BaseException):
    """The end of a process before one of its puts."""


class Mortal(Storage):
    """A storage of a process that is killed before its put number `end`."""

    def __init__(self, place: str, fence: Fence, end: int) -> None:
        super().__init__(place, fence)
        self.left = end

    def put(self, path: str, *data: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise Kill
        super().put(path, *data)


ACTS = st.lists(st.sampled_from(["decide", "judge", "measure", "note", "next"]), max_size=12)


@settings(max_examples=15)
@given(st.lists(st.tuples(ACTS, st.integers(0, 20)), min_size=1, max_size=3), st.randoms())
def test_no_kill_is_a_loss_and_a_noted_file_is_missed(attempts: list[tuple[list[str], int]], chance: Any) -> None:
    with tempfile.TemporaryDirectory() as place:
        whole_run(Ledger(Storage(place), "e", "run", "a"), 2)
        for number, (acts, end) in enumerate(attempts, 1):
            attempt = f"r{number:08d}-a"
            storage = Mortal(place, Fence("e", attempt), end)
            try:
                work(storage, attempt, acts)
                storage.fence.written.note(storage)  # type: ignore[union-attr]
            except Kill:
                pass
        assert missing(storage) == {}
        assert shortfall(storage, "e") == ""
        if told := sorted(noted(storage, "e/_lease").items()):
            (table, name), rows = chance.choice(told)
            storage.delete(f"e/{table}/{name}")
            assert sum(missing(storage).values()) >= rows
            assert f"of {table}" in shortfall(storage, "e")


def work(storage: Storage, attempt: str, acts: list[str]) -> None:
    """Writes rows of one table, and of two, into slots; `next`: into another one from then on."""
    slots = 0
    slot = Slot(storage, "e", f"{attempt}-0", kind="evaluated")
    for tick, act in enumerate(acts):
        if act == "decide":
            slot.extend({"events": [event(f"run{one}", attempt, tick) for one in range(tick + 1)]})
        elif act == "judge":
            slot.extend({"evals": figures("run", attempt, tick)["evals"]})
        elif act == "measure":
            slot.extend(figures("run", attempt, tick))
        elif act == "note":
            storage.fence.written.note(storage)  # type: ignore[union-attr]
        else:
            slots += 1
            slot = Slot(storage, "e", f"{attempt}-{slots}", kind="evaluated")


def test_a_storage_in_another_process_counts_for_itself(tmp_path: Path) -> None:
    with Lease(Storage(str(tmp_path)), "e") as lease:
        own = lease.storage.fence.written
        assert pickle.loads(pickle.dumps(lease.storage)).fence.written is not own
        assert copy.deepcopy(lease.storage).fence.written is own
