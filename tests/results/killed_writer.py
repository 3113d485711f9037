"""Run by test_killed.py: python killed_writer.py FOLDER flush|slot|first|merge. For each n, or each third, writes in
FOLDER/n in a process that kills itself before its n-th system call on files, until one ends before. A cut write leaves
half its bytes."""

import os
import signal
import sys
from pathlib import Path

from example_rows import begin, end, go, whole_run

from gen.results import Ledger, Slot, Storage
from gen.results.compact import compact

CALLS = ("open", "write", "fsync", "close", "mkdir", "replace", "rename", "unlink")


def kill_at(count):
    """Kills this process before its `count`-th call."""
    left = [count]

    def counted(name):
        call = getattr(os, name)

        def before(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                if name == "write":
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return before

    for name in CALLS:
        setattr(os, name, counted(name))


def flush(place, count):
    """A run with a checkpoint of tick 2; the flush of ticks 3 to 5, at the run's end, is cut."""
    ledger = Ledger(Storage(place), "e", "run", "a1")
    begin(ledger)
    for tick in range(6):
        go(ledger, tick)
        if tick == 2:
            ledger.flush(tick)
    end(ledger, 5)
    kill_at(count)
    ledger.close(5)


def slot(place, count):
    """Short runs of one process; the writing of the third is cut."""
    slot = Slot(Storage(place), "e", "slot1")
    for run in ("run0", "run1"):
        whole_run(Ledger(slot.storage, "e", run, "a1", slot=slot), 4)
    kill_at(count)
    whole_run(Ledger(slot.storage, "e", "run2", "a1", slot=slot), 4)


def first(place, count):
    """As `slot`, from an empty storage: the folders are not there yet."""
    kill_at(count)
    slot = Slot(Storage(place), "e", "slot1")
    whole_run(Ledger(slot.storage, "e", "run2", "a1", slot=slot), 4)


def merge(place, count):
    """Short runs of a process, and a run with files of its own; their merging is cut."""
    slot = Slot(Storage(place), "e", "slot1")
    for run in ("run0", "run1"):
        whole_run(Ledger(slot.storage, "e", run, "a1", slot=slot), 4)
    long = Ledger(slot.storage, "e", "run2", "a1")
    begin(long)
    for tick in range(4):
        go(long, tick)
        if tick == 2:
            long.flush(tick)
    end(long, 3)
    long.close(3)
    kill_at(count)
    compact(slot.storage, "e", "a2")


if __name__ == "__main__":
    work = {"flush": flush, "slot": slot, "first": first, "merge": merge}[sys.argv[2]]
    status, count = 1, 0
    while status:
        count += 3 if work is merge and count else 1  # six tables in the same way, out of step
        place = Path(sys.argv[1]) / f"{count:03d}"
        place.mkdir()
        child = os.fork()
        if child == 0:
            work(str(place), count)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status not in (0, signal.SIGKILL):
            sys.exit(f"the writer failed at call {count}")
