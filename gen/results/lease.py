"""The lease that lets one attempt at a time write an experiment, on any storage."""

from __future__ import annotations

import os
import random
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType

from gen.results.closing import close_slots
from gen.results.fence import Fence, LostError, lock, rank_of, states_of, try_lock, write_name
from gen.results.holder import in_words, introduce, lives, read_holder
from gen.results.ledger import new_attempt
from gen.results.room import FullError
from gen.results.storage import Storage, check_name

EARLIER = "_lease.json"  # the file of earlier versions
LOOK = 0.05  # seconds between two looks at what others do, at first; then up to twenty times that


def silence(text: str) -> None:
    """Hears a text, and says nothing."""


class Lease:
    """The right to write an experiment.

    `with Lease(storage, "name") as lease:` acquires and releases it. From then on `lease.attempt` is the attempt's id,
    whose rank is above that of all attempts before, and `lease.storage` is the storage behind its fence (see
    `gen.results.fence`): what is written through it, in whatever process on whatever host, is refused once another
    attempt has the lease. `hear` is called, in a thread, with a line that says so, within a few seconds of that,
    or with one that says that the storage is full.

    A holder on this host has the lease for as long as its process is there, stopped or not, in another container too if
    the storage is a local path. A holder elsewhere loses it if its heartbeats do not come for `seconds`, by the clock
    of whoever looks, which compares no time with another host's.

    Who wants it puts a file that says so, and then lists all such files: who finds no other has it; of several, the one
    whose name is the first waits until the others have gone. So two never have it at once, however slow the storage is:
    of two files, the one that was put later is listed after both were there.
    """

    def __init__(
        self, storage: Storage, experiment: str, seconds: float = 30.0, hear: Callable[[str], None] = silence
    ) -> None:
        check_name("experiment", experiment)
        self.storage, self.experiment, self.seconds, self.hear = storage, experiment, seconds, hear
        self.folder, self.attempt = Fence(experiment, "").folder, ""
        self.lost = threading.Event()  # set when another attempt has taken the lease
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._full: FullError | None = None  # what the last heartbeat met
        self._loss = ""  # what is said of it then
        self._beats = 0
        self._beat_at = 0.0
        self._alive: int | None = None  # an open file, locked for as long as this process lives

    def acquire(self, take_over: bool = False, say: Callable[[str], None] = silence) -> Lease:
        """Takes the lease. ValueError, one line, if another attempt that is at work holds it. `take_over`: takes it
        from that one too, which writes nothing from then on. `say` hears that it takes a while, and that the fence is
        not tight on this storage."""
        conditional = self._has_conditions(say)
        while not self._take(take_over, say, conditional):
            time.sleep(random.uniform(LOOK, 4 * LOOK))
        self._thread = threading.Thread(target=self._renew, name=f"lease of {self.experiment}", daemon=True)
        self._thread.start()
        if conditional:
            try:
                close_slots(self.storage)
            except BaseException:
                self.release()
                raise
        return self

    def check(self, now: bool = False) -> None:
        """LostError if another attempt has taken the lease, as the last heartbeat told, FullError if there was no room
        for one. If it is too old, for this process was asleep or the storage was away, or if it is to be known as of
        `now`, makes one first."""
        if not self.lost.is_set() and (now or time.monotonic() - self._beat_at > self.seconds):
            with suppress(OSError):  # nobody else can take it there either
                self._beat()
        if self._full is not None:
            raise self._full
        if self.lost.is_set():
            raise LostError(self._loss)

    def release(self) -> None:
        """Ends the heartbeat, and sets the lease free if this attempt still holds it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with suppress(OSError, LostError):  # a storage that fails is told by what failed before; the process ends soon
            if self.attempt:
                with suppress(FullError):
                    self._note()
                self.storage.put(self._path(self.attempt, "free"), b"")
                self._forget(self.attempt, "holds", "wants")
        self._close()

    def __enter__(self) -> Lease:
        return self if self.attempt else self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _path(self, attempt: str, state: str) -> str:
        return f"{self.folder}/{attempt}.{state}"

    def _states(self) -> dict[str, str]:
        return states_of(self.storage.list(self.folder))

    def _has_conditions(self, say: Callable[[str], None]) -> bool:
        """Whether the storage is an object store with conditional writes; `say` hears if it is one without."""
        if self.storage.is_local:
            return False
        try:
            self.storage.conditional.try_out(f"{self.folder}/{secrets.token_hex(8)}.tried", self.storage.get)
        except ValueError as error:
            say(
                f"object store without conditional writes: {error}; one write of a job that is stopped for a while, "
                f"and whose name another one takes over, may still arrive in {self.storage}"
            )
            return False
        return True

    def _take(self, take_over: bool, say: Callable[[str], None], conditional: bool) -> bool:
        """One try; False if another attempt tries at the same time, and goes first."""
        gone = self._find_gone(take_over, say)
        attempt = new_attempt(1 + max(map(rank_of, gone), default=0))
        mine = self.storage.behind(Fence(self.experiment, attempt, conditional))
        try:
            self._open(attempt)
            self.storage.put(self._path(attempt, "wants"), introduce(attempt, 0))
            if not self._is_first(attempt, gone):
                raise LostError
            with self._no_writes() as file:
                self.storage.put(self._path(attempt, "holds"), introduce(attempt, 0))
                if file is not None:
                    write_name(file, attempt)
            Fence(self.experiment, attempt).check(self.storage)  # it may have taken so long that it was given up
        except BaseException as error:
            self._close()
            with suppress(OSError):
                self._forget(attempt, "holds", "wants")
            if isinstance(error, LostError):
                return False
            raise
        self.storage, self.attempt, self._beat_at = mine, attempt, time.monotonic()
        for other in gone:
            self._forget(other, "free", "holds", "wants")
        self.storage.delete(f"{self.experiment}/{EARLIER}")
        return True

    def _find_gone(self, take_over: bool, say: Callable[[str], None]) -> set[str]:
        """The attempts whose files are there and that are at work no more. ValueError if one is."""
        if not take_over and self._works(f"{self.experiment}/{EARLIER}", "", say):
            raise self._refusal(f"{self.experiment}/{EARLIER}")
        while True:
            states = self._states()
            top = max((rank_of(one) for one, state in states.items() if state != "wants"), default=0)
            rivals = [one for one, state in states.items() if rank_of(one) >= top + (state == "wants")]
            for one in rivals:
                if states[one] != "free":
                    self._check_gone(one, states[one], take_over, say)
            if not rivals or self._states() == states:
                return set(states)

    def _check_gone(self, attempt: str, state: str, take_over: bool, say: Callable[[str], None]) -> None:
        """ValueError if an attempt is at work and remains in this state; it may have left it when this returns."""
        path = self._path(attempt, state)
        if state == "wants" and not self._stays(attempt):
            return
        if not take_over and self._works(path, attempt, say) and self._states().get(attempt) == state:
            raise self._refusal(path)

    def _works(self, path: str, attempt: str, say: Callable[[str], None]) -> bool:
        """Whether the attempt that wrote a file is at work: its process lives on this host or, where that cannot be
        told, the file changes within `seconds`."""
        first = self.storage.get(path)
        if first is None:
            return False
        holder = read_holder(first)
        known = lives(holder, self._lock_of(attempt) if attempt else None)
        if known is not None:
            return known
        say(
            f"{self.experiment!r} in {self.storage} was held by {in_words(holder)}: listening for a sign of it, for up "
            f"to {self.seconds:g} s"
        )
        return not self._lasts(lambda: self.storage.get(path) == first)

    def _stays(self, attempt: str) -> bool:
        """Whether an attempt that wants the lease neither gets it nor goes for `seconds`, though it may be at work."""
        first = self.storage.get(self._path(attempt, "wants"))
        if first is None or lives(read_holder(first), self._lock_of(attempt)) is False:
            return False
        return self._lasts(lambda: self._states().get(attempt) == "wants")

    def _is_first(self, attempt: str, gone: set[str]) -> bool:
        """Whether this attempt, whose file that says so is there, gets the lease: waits for those that come later."""
        first = False

        def waits() -> bool:
            nonlocal first
            states = self._states()
            others = {one: state for one, state in states.items() if one not in {attempt, *gone}}
            first = attempt in states and not others
            later = all(state == "wants" and one > attempt for one, state in others.items())
            return bool(attempt in states and others and later)

        self._lasts(waits)
        return first

    def _lasts(self, holds: Callable[[], bool]) -> bool:
        """Looks for `seconds` of this process's own clock whether something holds; False as soon as it does not."""
        end, pause = time.monotonic() + self.seconds, LOOK
        while holds():
            if time.monotonic() > end:
                return True
            time.sleep(min(pause, self.seconds / 10))
            pause = min(2 * pause, 20 * LOOK)
        return False

    def _no_writes(self) -> AbstractContextManager[int | None]:
        """A block in which no process of any attempt makes a file visible, on a storage that has locks: with the file
        in which these look."""
        local = self.storage.is_local
        return lock(Path(self.storage.place, self.folder, ".lock"), alone=True) if local else nullcontext()

    def _lock_of(self, attempt: str) -> Path | None:
        return Path(self.storage.place, self.folder, f".{attempt}.alive") if self.storage.is_local else None

    def _open(self, attempt: str) -> None:
        """Locks a file for as long as this process lives."""
        path = self._lock_of(attempt)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._alive = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try_lock(self._alive, alone=True)

    def _close(self) -> None:
        if self._alive is not None:
            os.close(self._alive)
            self._alive = None

    def _forget(self, attempt: str, *states: str) -> None:
        """Deletes files of an attempt."""
        for state in states:
            self.storage.delete(self._path(attempt, state))
        path = self._lock_of(attempt)
        if path is not None:
            path.unlink(missing_ok=True)

    def _beat(self) -> None:
        """Makes a heartbeat, or notices that another attempt has the lease, and tells whoever hears."""
        self._beats += 1
        try:
            self.storage.put(self._path(self.attempt, "holds"), introduce(self.attempt, self._beats))
        except LostError as error:
            if not self.lost.is_set():
                self._loss = str(error)
                self.lost.set()
                self.hear(self._loss)
            return
        self._beat_at = time.monotonic()

    def _renew(self) -> None:
        while not self._stop.wait(self.seconds / 6) and not self.lost.is_set():
            try:
                self._beat()
                self._note()
                self._full = None
            except FullError as error:
                if self._full is None:
                    self.hear(str(error))
                self._full = error
            except (OSError, LostError):  # the storage is away for a moment, or the next heartbeat tells
                continue

    def _note(self) -> None:
        """Notes what this process has written since the last time."""
        if self.storage.fence is not None:
            self.storage.fence.written.note(self.storage)

    def _refusal(self, path: str) -> ValueError:
        data = self.storage.get(path)
        if data is None:
            return ValueError(f"the lease of {self.experiment!r} in {self.storage} is contended; try again")
        holder = read_holder(data)
        return ValueError(
            f"{self.experiment!r} in {self.storage} is being written by attempt {holder.get('attempt', 'unknown')}"
            f" ({in_words(holder)}, which may be stopped); end it, wait until it ends, choose another name, or take the"
            f" name from it by --take-over"
        )
