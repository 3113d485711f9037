"""Ctrl-C ends a job within five seconds, whatever it does at that moment: exit status 130 and one line.

While the modules of a job are imported nothing is at stake, and it ends at once. From then on Python raises
KeyboardInterrupt, and the blocks that are left give back what they hold. A thread sees to it that this does not last:
Ray puts handlers of its own in place, native code does not return, and a file or a host may not answer. What the job
was doing then is as after a kill: submitted again, it goes on from what is stored.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

STATUS = 130  # by custom: 128 and the number of the signal
SECONDS = 4.0  # for the blocks that are left; the rest of the five is for the end of the process
TEXT = "interrupted: submit the same again to go on"

_guarded = False
_end = (STATUS, TEXT)  # exit status, and the line
_told = threading.Lock()  # taken by whoever writes the line


def guard() -> None:
    """Answers Ctrl-C in this process from now on. Not where whoever started it wants it ignored, as `nohup` may."""
    global _guarded
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    _guarded = True
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)  # every signal is written there, whoever handles it
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    signal.signal(signal.SIGINT, lambda *_: end())
    threading.Thread(target=wait_for_end, args=[heard], name="Ctrl-C", daemon=True).start()


def imports_are_done() -> None:
    """Makes Ctrl-C raise KeyboardInterrupt from now on."""
    if _guarded:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for_end(heard: int) -> None:
    """Ends this process some seconds after a Ctrl-C, if it is still there."""
    while os.read(heard, 1)[0] != signal.SIGINT:
        pass
    end_later()


def end_later() -> None:
    """Ends this process some seconds from now."""
    select.select([], [], [], SECONDS)
    end()


def terminate(*_: object) -> None:
    """As Ctrl-C, for other signals: also where Ctrl-C is ignored, as it is in the background of a script."""
    global _guarded
    if not _guarded:
        _guarded = True
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # Ray's handlers stay
            signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=end_later, name="the end", daemon=True).start()
    signal.raise_signal(signal.SIGINT)


def tell() -> None:
    """Writes the line, once."""
    if _told.acquire(blocking=False):
        with suppress(OSError):  # nobody may read it any more
            os.write(2, f"{_end[1]}\n".encode())


def give_up(why: str) -> None:
    """Ends this job as Ctrl-C does, from whatever thread, but by a line that says why, and exit status 1."""
    note(why)
    if not _guarded:  # Ctrl-C is ignored here
        tell()
        kill_children()
        os._exit(1)
    os.kill(os.getpid(), signal.SIGINT)


def note(why: str) -> None:
    """Has the job end by a line that says why, and exit status 1, instead of those of Ctrl-C."""
    global _end
    _end = (1, f"error: {why}")


def say_at_end(text: str) -> None:
    """Has Ctrl-C end this job by another line."""
    global _end
    _end = (STATUS, text)


def end(why: str = "") -> NoReturn:
    """Ends a job that was interrupted, or that gave up, and `why` ("": as noted before), without what Python and native
    libraries do at a usual end: that may hang or crash half-way through an import or a start of Ray. The processes that
    this one started end with it."""
    if why:
        note(why)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    tell()
    if not _guarded:
        sys.exit(_end[0])
    if "psutil" in sys.modules:  # else nothing that starts processes is imported yet
        kill_children()
    os._exit(_end[0])


def break_off(text: str) -> None:
    """Ends this process at once with exit status 1 and a line, from whichever thread: what it depends on is gone, and
    the blocks that are left would wait for it. After a Ctrl-C it does nothing, for the process ends already."""
    if _told.acquire(blocking=False):
        with suppress(OSError):
            os.write(2, f"error: {text}\n".encode())
        kill_children()
        os._exit(1)


def kill_children() -> None:
    """Kills the processes that this one started, a Ray of the job's own among them."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
