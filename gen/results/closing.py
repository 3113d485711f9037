"""The end of all that earlier attempts may still write into slots of an object store (see `gen.results.fence`).

A slot's file that may still be written again is its last one, of each table. In such a file a gap lies before the mark;
with other bytes there, it has the same rows and another tag.
"""

from __future__ import annotations

import re
import secrets
from functools import partial

from gen.results.fence import rank_of
from gen.results.parquet import GAP, in_threads, mark_of
from gen.results.schema import TABLES
from gen.results.storage import Storage

SLOT = re.compile(r"([a-z]+-(r\d+-.+))-(\d{4,})\.parquet")
CLOSED = ".closed"  # after the name of an attempt, in the folder of the lease: all those before it were closed


def close_slots(storage: Storage) -> int:
    """Closes the slots of all attempts before that of the storage's fence, and notes it; gives how many files that
    changed. The attempt holds the lease, and has read none of them yet."""
    fence = storage.fence
    assert fence is not None
    notes = [name for name in storage.list(fence.folder) if name.endswith(CLOSED)]
    done, own = max(map(rank_of, notes), default=0), rank_of(fence.attempt)
    folders = [f"{fence.experiment}/{table}" for table in TABLES]
    last = dict[str, str]()
    for folder, names in zip(folders, in_threads(storage.list, folders, storage), strict=True):
        for name in names:  # sorted, so the last number of a slot comes last
            match = SLOT.fullmatch(name)
            if match and done <= rank_of(match[2]) < own:
                last[f"{folder}/{match[1]}"] = f"{folder}/{name}"
    changed = in_threads(partial(storage.conditional.change, other=other_gap), list(last.values()), storage)
    storage.put(f"{fence.folder}/{fence.attempt}{CLOSED}", b"")
    for name in notes:
        storage.delete(f"{fence.folder}/{name}")
    return sum(changed)


def other_gap(data: bytes) -> bytes | None:
    """The bytes of a slot's file with others in its gap. None if it has none: it is damaged, or an earlier version's,
    which put no condition."""
    at = mark_of(data)
    return None if at is None or at < GAP else data[: at - GAP] + secrets.token_bytes(GAP) + data[at:]
