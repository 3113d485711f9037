"""Files that are not what was written, and what a process has to say of such: one line each, for users."""

from __future__ import annotations

import json
import zlib
from collections import deque
from collections.abc import Mapping
from typing import Any

SEAL = ("sealed", "checksum")  # keys of a sealed record: that it has a checksum, and the checksum


class DamageError(ValueError):
    """A file is damaged, or is something else than its name says. Its text is one line: the file, why, what to do."""


_remarks: deque[str] = deque()


def remark(line: str) -> None:
    """Keeps a line for the user, of something damaged that was made anew or replaced by something earlier. Only jobs
    print; whoever can reach one asks `take_remarks`."""
    if line not in _remarks:
        _remarks.append(line)


def take_remarks() -> list[str]:
    """The lines that this process kept since it was last asked."""
    return [_remarks.popleft() for _ in range(len(_remarks))]


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record for JSON with a checksum of all else in it."""
    says, checksum = SEAL
    rest = {key: value for key, value in json.loads(json.dumps(record)).items() if key != checksum} | {says: True}
    return {**rest, checksum: zlib.crc32(json.dumps(rest, sort_keys=True).encode())}


def is_sealed(record: Mapping[str, Any]) -> bool:
    """Whether a record, as JSON gave it, is the one that was sealed; one that was never sealed may be. Either key tells
    that it was, for damage may have changed the other."""
    return not {*SEAL} & record.keys() or sealed(record) == record
