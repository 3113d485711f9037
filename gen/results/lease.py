"""The lease that lets one attempt at a time write an experiment: a file with a heartbeat, on any storage."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from gen.results.ledger import new_attempt
from gen.results.room import FullError
from gen.results.storage import Storage, check_name

BYTES = 1024  # of the file, always: who reads from an object store asks for the size first, and then for so many bytes
SETTLE = 0.5  # seconds after which two attempts that took the lease at the same time see which of them has it


def boot_id() -> str:
    """A text that changes when this host restarts."""
    source = Path("/proc/sys/kernel/random/boot_id")
    return source.read_text().strip() if source.exists() else str(int(psutil.boot_time()))


class Lease:
    """The right to write an experiment. It lapses `seconds` after its last heartbeat; on the host of its process it
    lapses as soon as that process is gone. The clocks of hosts must agree to well within `seconds`.

    `with Lease(storage, "name") as lease:` acquires and releases; `lease.attempt` is the attempt's id.
    """

    def __init__(self, storage: Storage, experiment: str, seconds: float = 30.0) -> None:
        check_name("experiment", experiment)
        self.storage, self.experiment, self.seconds = storage, experiment, seconds
        self.path = f"{experiment}/_lease.json"
        self.attempt = new_attempt()
        self.lost = threading.Event()  # set when another attempt has taken the lease
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._renewed = 0.0
        self._full: FullError | None = None  # what the last heartbeat met
        self._renewing = threading.Lock()

    def acquire(self) -> Lease:
        """Takes the lease, which lasts half a second. ValueError, one line, if another live attempt holds it."""
        if self.holder() is not None:
            raise self._refusal()
        self._put()
        time.sleep(SETTLE)
        if not self._is_mine():
            raise self._refusal()
        self._thread = threading.Thread(target=self._renew, name=f"lease of {self.experiment}", daemon=True)
        self._thread.start()
        return self

    def holder(self) -> dict[str, Any] | None:
        """The lease (host, boot, pid, started, attempt, heartbeat) if a live attempt holds it; None if none does."""
        holder = self._read()
        if holder is None or time.time() - holder["heartbeat"] > self.seconds:
            return None
        if (holder["host"], holder["boot"]) == (socket.gethostname(), boot_id()) and not is_alive(holder):
            return None
        return holder

    def check(self) -> None:
        """RuntimeError if another attempt has taken the lease, FullError if storage has no room for a heartbeat. If the
        last one is too old, it makes one first."""
        if self._full is not None:
            raise self._full
        if not self.lost.is_set() and time.monotonic() - self._renewed > self.seconds:
            self._beat()  # this process was asleep, or storage was away
        if self.lost.is_set():
            raise RuntimeError(f"the lease of {self.experiment!r} in {self.storage} went to another attempt; ended")

    def release(self) -> None:
        """Ends the heartbeat, and deletes the lease if this attempt still holds it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._is_mine():
            self.storage.delete(self.path)

    def __enter__(self) -> Lease:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _read(self) -> dict[str, Any] | None:
        data = self.storage.get(self.path)
        return None if data is None else dict(json.loads(data))

    def _is_mine(self) -> bool:
        holder = self._read()
        return holder is not None and holder["attempt"] == self.attempt

    def _put(self) -> None:
        now = time.monotonic()
        lease = {
            "host": socket.gethostname(),
            "boot": boot_id(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "attempt": self.attempt,
            "heartbeat": time.time(),
        }
        self.storage.put(self.path, json.dumps(lease).ljust(BYTES).encode())
        self._renewed = now

    def _beat(self) -> None:
        with self._renewing:
            holder = self._read()
            if holder is not None and holder["attempt"] != self.attempt:
                self.lost.set()
            else:
                self._put()

    def _renew(self) -> None:
        while not self._stop.wait(self.seconds / 6) and not self.lost.is_set():
            try:
                self._beat()
                self._full = None
            except FullError as error:
                self._full = error
            except OSError:  # storage is away for a moment; `check` raises once that lasts as long as the lease
                continue

    def _refusal(self) -> ValueError:
        holder = self._read()
        if holder is None:
            return ValueError(f"the lease of {self.experiment!r} in {self.storage} is contended; try again")
        age = max(time.time() - holder["heartbeat"], 0.0)
        return ValueError(
            f"{self.experiment!r} in {self.storage} is being written by attempt {holder['attempt']} (host"
            f" {holder['host']}, process {holder['pid']}, heartbeat {age:.0f} s ago); stop it, wait until it ends, or"
            f" choose another name (a dead one's lease lapses after {self.seconds:g} s)"
        )


def holder_of(storage: Storage, experiment: str) -> str:
    """The attempt that holds an experiment's lease, alive or not; "" if none does. Workers on other hosts ask this."""
    data = storage.get(f"{experiment}/_lease.json")
    return str(json.loads(data)["attempt"]) if data else ""


def is_alive(holder: dict[str, Any]) -> bool:
    """Whether the holder's process, on this host, still runs, and is not a later process with the same number."""
    try:
        process = psutil.Process(holder["pid"])
        return bool(process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - holder["started"]) < 5.0)
    except psutil.NoSuchProcess:
        return False
