"""The process that holds a lease: what it says of itself there, and whether it is still at work, as this host knows."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from gen.results.fence import try_lock

BYTES = 1024  # of the file, always: who reads from an object store asks for the size first, and then for so many bytes


def boot_id() -> str:
    """A text that changes when this host restarts, and that containers share with their host."""
    source = Path("/proc/sys/kernel/random/boot_id")
    return source.read_text().strip() if source.exists() else str(int(psutil.boot_time()))


def process_space() -> str:
    """A text that is the same for processes which know each other by the same numbers; containers have one each."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def birth(pid: int) -> str:
    """A text that no other process with this number has had; "" if there is no such process, or it only waits for its
    parent to hear of its end. It does not change with the clock of the host."""
    try:
        if Path("/proc/self/stat").exists():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return "" if fields[0] in "ZX" else fields[19]  # its state; its start, in ticks since the host's
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        return ""


def introduce(attempt: str, beat: int) -> bytes:
    """What a holder's file says. `beat` counts its heartbeats."""
    about = {
        "attempt": attempt,
        "beat": beat,
        "host": socket.gethostname(),
        "boot": boot_id(),
        "space": process_space(),
        "pid": os.getpid(),
        "birth": birth(os.getpid()),
    }
    return json.dumps(about).ljust(BYTES).encode()


def read_holder(data: bytes) -> dict[str, Any]:
    """What a holder's file says; nothing if it is damaged."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and {"boot", "pid", "host"} <= found.keys() else {}


def in_words(holder: Mapping[str, Any]) -> str:
    """Which process a holder is."""
    return f"process {holder['pid']} on host {holder['host']}" if holder else "a process that its file does not name"


def lives(holder: Mapping[str, Any], lock: Path | None) -> bool | None:
    """Whether a holder's process runs, or is stopped, on this host; None if it cannot be told here. `lock`: the file
    that it has locked for as long as it lives, which tells of a process in another container; None: there is none."""
    if holder.get("boot") != boot_id():
        return None
    if holder.get("space", process_space()) == process_space():
        if "birth" not in holder:  # an earlier version wrote the time of its start, which moves with the clock
            return (
                bool(birth(holder["pid"])) and abs(psutil.Process(holder["pid"]).create_time() - holder["started"]) < 5
            )
        return bool(holder["birth"] == birth(holder["pid"]))
    return is_locked(lock) if lock else None


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock of a file; None if that cannot be told."""
    try:
        file = os.open(path, os.O_RDWR)
        try:
            taken = try_lock(file, alone=True)
            return None if taken is None else not taken
        finally:
            os.close(file)
    except OSError:
        return None
