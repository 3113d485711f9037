"""Output that may end before the job does: a reader of a pipe that has read enough, a closed terminal, a full disk."""

from __future__ import annotations

import io
import os
import shlex
import sys
from contextlib import suppress
from typing import Any


class Lasting(io.FileIO):
    """An open file that takes whatever is written to it. Once it takes no more, the rest is dropped: a run of hours
    does not break for lack of a reader."""

    def write(self, data: Any, /) -> int:
        """Writes what can be written; says that all was."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Makes what this process prints from now on unable to end it. What tests or others put in place of the usual
    streams is left alone."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):  # None: closed before the start
            continue
        with suppress(OSError):
            stream.flush()
        raw = io.BufferedWriter(Lasting(stream.fileno(), "w", closefd=False))
        lasting = io.TextIOWrapper(
            raw, encoding=stream.encoding, errors=stream.errors, line_buffering=stream.line_buffering
        )
        setattr(sys, name, lasting)
        setattr(sys, f"__{name}__", lasting)  # so that no unflushed copy is left, whose end would be an error


def drop_unread() -> None:
    """Writes what is still to be printed or, if nobody takes it, drops it: Python would complain of it at its end."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except ValueError:  # it was closed
            continue


def page_line(storage: object, name: str) -> str:
    """The line that tells how an experiment becomes a page."""
    command = ["python", "-m", "jobs.report", "--storage", str(storage), "--name", name, "--out", f"{name}.html"]
    return f"a page of it: {shlex.join(command)}"
