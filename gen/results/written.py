"""How many rows lie in the files of slots, as the lease's holder notes it beside its lease.

The footers of files tell of each other (`gen.results.manifest`); but what is written into one table alone, as decisions
are, or the whole of what a process wrote, is told by no file that is left once it is lost. So the process that holds a
lease counts what it puts, and the file EXPERIMENT/_lease/ATTEMPT.written says so: with a heartbeat, if there is
something new, and when the lease is set free. That costs no request for each write. It is noted after it was written,
so a kill leaves rows that nobody noted, those since the last heartbeat, and never a note without its rows.

What other processes put is not noted: trials, whose files tell of each other. Of experiments without such notes, as
earlier versions left them, nothing is expected.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from gen.damage import is_sealed, remark, sealed

if TYPE_CHECKING:
    from gen.results.storage import Storage

ENDING = ".written"  # of a file's name, after an attempt's
LOOKS = 2  # at a file that seems damaged: it may be replaced meanwhile


class Written:
    """Counts the rows in files of slots that one process puts. In another process it is another one, and empty."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, list[int]]] = {}  # slot -> table -> rows in each of its files
        self._lock = threading.Lock()  # the lease's heartbeat reads while others write
        self._is_new = False

    def __reduce__(self) -> tuple[Any, ...]:
        return Written, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Written:
        return self

    def count(self, slot: str, table: str, number: int, rows: int) -> None:
        """The file of this number holds so many rows now."""
        with self._lock:
            files = self._rows.setdefault(slot, {}).setdefault(table, [])
            files[number:] = [rows]
            self._is_new = True

    def note(self, storage: Storage) -> None:
        """Puts what there is to say, if that is more than was said before."""
        fence = storage.fence
        assert fence is not None
        with self._lock:
            if not self._is_new:
                return
            data = json.dumps(sealed({"rows": self._rows}), separators=(",", ":")).encode()
            self._is_new = False
        try:
            storage.put(f"{fence.folder}/{fence.attempt}{ENDING}", data)
        except BaseException:
            self._is_new = True
            raise


def noted(storage: Storage, folder: str) -> dict[tuple[str, str], int]:
    """Table and name of a file of a slot -> the rows that are in it at least, as the files of a lease's folder say. Ask
    it before the files of tables are listed: they were there when it was noted."""
    found = dict[tuple[str, str], int]()
    for name in storage.list(folder):
        if name.endswith(ENDING):
            for slot, tables in read(storage, f"{folder}/{name}").items():
                for table, files in tables.items():
                    found |= {(table, f"{slot}-{number:04d}.parquet"): rows for number, rows in enumerate(files)}
    return found


def read(storage: Storage, path: str) -> dict[str, dict[str, list[int]]]:
    """What a file says; nothing, and a remark, if it is damaged."""
    for _ in range(LOOKS):
        try:
            record = json.loads(storage.get(path) or b"")
            if is_sealed(record):
                return dict(record["rows"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    remark(f"{storage}/{path} is damaged: what it notes of rows that were written is not compared with the tables")
    return {}
