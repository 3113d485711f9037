"""Two folders that change their names in one step, so that whoever opens one of them finds one whole state or another.

Python has no function for it: it is Linux's renameat2 with RENAME_EXCHANGE, in every C library since 2018.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

HERE = -100  # AT_FDCWD: paths are as for open()
EXCHANGE = 2  # RENAME_EXCHANGE
CANNOT = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)  # of systems, and of file systems, that do not have it


def exchange(one: Path, other: Path) -> None:
    """Gives each of two folders the other's name. OSError with one of the numbers in CANNOT where that cannot be."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(one))
    if rename(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))
