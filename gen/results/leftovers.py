"""Half-written files that killed writers left in local folders: which ones they are, and their end."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

OLD = 86_400.0  # seconds after which nobody writes a file any more, by the clock of its file system
NAME = re.compile(r"\..+\.(?P<process>\d+)\.(?P<mark>[0-9a-f]{8})?(?:[0-9a-f]{8}|[0-9a-f]{12})")  # 12: earlier versions
_swept: set[Path] = set()


@cache
def own_mark() -> str:
    """What tells the processes that this one can see from those of other hosts, boots and containers."""
    parts = [socket.gethostname()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        path = Path(source)
        if os.path.lexists(path):
            parts.append(str(path.readlink()) if path.is_symlink() else path.read_text().strip())
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def hidden_name(path: Path) -> Path:
    """A name beside `path` for a file that this process is writing: .NAME.PROCESS.HEX."""
    short = path.name[:40]  # a long name has room for more
    return path.with_name(f".{short}.{os.getpid()}.{own_mark()}{secrets.token_hex(4)}")


def abandoned(folder: Path, now: float) -> Iterator[Path]:
    """The half-written files in a folder whose writers are surely gone. `now`: by the clock of its file system."""
    with os.scandir(folder) as entries:
        for entry in entries:
            match = NAME.fullmatch(entry.name) if entry.name.startswith(".") else None
            if match is None:
                continue
            try:
                dead = match["mark"] == own_mark() and not is_running(int(match["process"]))
                if dead or now - entry.stat(follow_symlinks=False).st_mtime > OLD:
                    yield Path(entry.path)
            except FileNotFoundError:  # its writer is there, and was done meanwhile
                continue


def is_running(process: int) -> bool:
    """Whether a process of this host has that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's
        return True
    return True


def sweep(folder: Path, now: float) -> None:
    """Removes what killed writers left in a folder: once in each process, when it first writes there."""
    if folder not in _swept:
        _swept.add(folder)
        with suppress(OSError):  # what was put there stands, whatever the folder says now
            for path in abandoned(folder, now):
                path.unlink(missing_ok=True)


def all_abandoned(root: Path, now: float | None = None) -> list[Path]:
    """The half-written files of dead writers in a folder and all those below it."""
    found = list[Path]()
    for folder, _, _ in os.walk(root):
        found += abandoned(Path(folder), time.time() if now is None else now)
    return sorted(found)


def remove_abandoned(root: Path) -> int:
    """Removes the half-written files of dead writers in a folder and all those below it; how many there were."""
    with tempfile.NamedTemporaryFile(dir=root, prefix=".") as probe:
        now = Path(probe.name).stat().st_mtime
    found = all_abandoned(root, now)
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)
