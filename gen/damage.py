"""Files that are not what was written, and what a process has to say of such: one line each, for users."""

from __future__ import annotations

from collections import deque


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
