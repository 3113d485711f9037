"""The fence around an experiment: who lost its lease to a later attempt writes nothing there any more.

EXPERIMENT/_lease/ has files that are named ATTEMPT.STATE: an attempt `wants` the lease, `holds` it, or has set it
`free`. An attempt's name begins with its rank, which rises with each taking of the lease. A write is compared with
these names where it becomes visible: it counts only while no attempt of a higher rank has, or had, the lease. On a
local path the file .lock names the last one that took it, too.

On a local path, and on one that hosts share with file locks that hold between them, a write and its comparison are one
step, for whoever takes the lease waits until no write is between the two.

On an object store a process may be stopped between the two for longer than its lease lasts, and its write arrives when
a later attempt is at work. There each write is conditional (`gen.results.conditional`). Its writer
1. looks at the file, and notes its tag; of a new file it makes a blank one first, which says nothing;
2. compares its attempt with the names in _lease/;
3. puts the file on condition that it still has this tag.
A later attempt changes each file that says something of an earlier one's before it relies on it: the last file of each
slot at once (`gen.results.closing`), the checkpoint of a run when it takes that run up, and the run's own files from
there on when it first writes its own. All of that comes after its `holds` is there.

So no write of an earlier attempt comes to stand beside what a later one wrote. Let it have passed its comparison: then
there was no later `holds` yet, but the file was there, and the later attempt finds it. Either the write comes before
the change, and the later attempt knows it as if it had come in time; or it comes after the change, the tag is another
one, and the store refuses it. A tag never comes back, for each blank and each change has bytes of its own, and rows
name their attempt. A write that passed the comparison of no file is refused by the comparison itself. What is written
of a run that no later attempt takes up stands beside nothing.

This does not hold for deletions, which have no condition: a late one may take a checkpoint away, which costs the run's
training since its beginning and no row, or a file that `jobs.check --mend` found damaged and that was written again
meanwhile. On an object store without conditional writes, of which the jobs say so, and on a shared path without locks,
the comparison comes right before the write: there one write that was under way may still arrive, and no further one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gen.results.written import Written

if TYPE_CHECKING:
    from gen.results.storage import Storage

FOLDER = "_lease"
RANK = re.compile(r"r(\d+)-")
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # of a file system that has none
NAME_BYTES = 64  # of the file .lock: an attempt's name, filled up
PATIENCE = 5.0  # seconds; a write and its comparison take less than a thousandth of one


class LostError(RuntimeError):
    """The lease of an experiment went to a later attempt. Its text is one line, for users."""


def rank_of(attempt: str) -> int:
    """The rank in an attempt's name; 0 if it has none, as in files of earlier versions."""
    match = RANK.match(attempt)
    return int(match[1]) if match else 0


def states_of(names: Iterable[str]) -> dict[str, str]:
    """Attempt -> the state that it has come to last, from the names of files."""
    found = dict[str, str]()
    for state in ("wants", "holds", "free"):
        found |= {name.removesuffix(f".{state}"): state for name in names if name.endswith(f".{state}")}
    return found


def holder_of(storage: Storage, experiment: str) -> str:
    """The attempt that has the lease of an experiment, at work or killed; "" if none has."""
    states = states_of(storage.list(f"{experiment}/{FOLDER}"))
    return max((attempt for attempt, state in states.items() if state == "holds"), key=rank_of, default="")


@dataclass(frozen=True)
class Fence:
    """Lets writes of one attempt at an experiment through, until a later attempt holds the lease. Picklable."""

    experiment: str
    attempt: str
    conditional: bool = False  # the storage is an object store that puts files under conditions
    written: Written = field(default_factory=Written, compare=False, repr=False)  # by this process

    @property
    def folder(self) -> str:
        """Where the files of the lease lie under the storage."""
        return f"{self.experiment}/{FOLDER}"

    def encloses(self, path: str) -> bool:
        """Whether a file of the storage is the experiment's."""
        return path.startswith(f"{self.experiment}/")

    def conditions(self, path: str) -> bool:
        """Whether a file of the storage is put under a condition; those of the lease each have one writer."""
        return self.conditional and self.encloses(path) and not path.startswith(f"{self.folder}/")

    def check(self, storage: Storage) -> None:
        """LostError if a later attempt holds the lease, or has held it."""
        states = states_of(storage.list(self.folder))
        self.compare(
            max((attempt for attempt, state in states.items() if state != "wants"), key=rank_of, default=""), storage
        )

    def compare(self, last: str, storage: Storage) -> None:
        """LostError if the attempt `last` is a later one."""
        if rank_of(last) > rank_of(self.attempt):
            raise LostError(
                f"the lease of {self.experiment!r} in {storage} went to attempt {last}; this one, {self.attempt}, ended"
            )

    @contextmanager
    def passage(self, storage: Storage, root: Path | None) -> Iterator[None]:
        """A block in which a file becomes visible. LostError if it must not. `root`: of a local storage."""
        if root is None:
            self.check(storage)
            yield
            return
        with lock(root / self.folder / ".lock") as file:  # of a locked file every host reads what is in it now
            self.compare(os.pread(file, NAME_BYTES, 0).decode(errors="replace").strip(), storage)
            yield


@contextmanager
def lock(path: Path, alone: bool = False) -> Iterator[int]:
    """Holds a lock of the kernel for the block, beside others or `alone`; gives the open file. TimeoutError if others
    hold it for seconds: one of these processes must have been stopped in the middle of a write. Without effect where
    files have no locks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if alone:
            with suppress(PermissionError):  # whoever may write to the folder may go on with what another user began
                os.fchmod(file, path.parent.stat().st_mode & 0o666)
        deadline = time.monotonic() + PATIENCE
        while try_lock(file, alone) is False:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"a process that was stopped in the middle of a write holds {path}; end it, or let it go on",
                )
            time.sleep(0.01)
        yield file
    finally:
        os.close(file)


def write_name(file: int, attempt: str) -> None:
    """Writes who has the lease now into an open file, where passages look."""
    os.pwrite(file, attempt.ljust(NAME_BYTES).encode(), 0)
    os.fsync(file)


def try_lock(file: int, alone: bool) -> bool | None:
    """Takes the lock of an open file until that is closed; False if another one holds it, None where files have no
    locks: who holds it cannot be told there."""
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    return True
