"""Places that are full: what the system says of it becomes one line that names the place and the room that is left."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WANTS_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OF_STORES = re.compile(r"StorageFull|QuotaExceeded|InsufficientStorage", re.IGNORECASE)  # codes of object stores


class FullError(OSError):
    """A place has no room for what is to be written there. Its text is one line, for users."""

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def room_at(place: str, folder: Path | None = None) -> Iterator[None]:
    """Turns whatever fails in the block for want of room into a FullError that names `place`. `folder`: where that is
    on this host; None: not here."""
    try:
        yield
    except Exception as error:
        cause = next((one for one in causes(error) if wants_room(one)), None)
        if cause is None:
            raise
        if isinstance(cause, FullError):  # an inner block has named its place
            raise cause from None
        number = cause.errno if isinstance(cause, OSError) and cause.errno else errno.ENOSPC
        raise FullError(
            number,
            f"{place} is full ({os.strerror(number)}{room_left(folder) if folder else ''}); make room there and submit "
            f"the same again: it goes on from what is recorded",
        ) from None


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that led to it, in other processes of Ray too."""
    seen, ahead = list[BaseException](), list[Any]([error])
    while ahead:
        one = ahead.pop(0)
        if not isinstance(one, BaseException) or any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        ahead += [one.__cause__, one.__context__]
        ahead += [getattr(one, name, None) for name in ("cause", "controller_failure")]
        ahead += getattr(one, "worker_failures", {}).values()


def wants_room(error: BaseException) -> bool:
    """Whether this is the system's, or an object store's, error for a place that is full."""
    number = getattr(error, "errno", None)
    return isinstance(error, OSError) and (
        number in WANTS_ROOM or bool(number is None and OF_STORES.search(str(error)))
    )


def room_left(folder: Path) -> str:
    """The room that is left where a folder is or would be, in words."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
        about = os.statvfs(folder)
    except OSError:
        return ""
    files = ", and none for another file" if about.f_files and not about.f_favail else ""
    return f"; {in_words(free)} left{files}"


def in_words(count: int) -> str:
    """A number of bytes in words: "512 bytes", "1.5 MB"."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
