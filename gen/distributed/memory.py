"""A process that may take a part of a device's memory, and what is said where that is too little."""

from __future__ import annotations

import contextlib
import gc
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

from gen.distributed.machine import memory
from gen.distributed.workers import Workers
from gen.results.room import in_words

CPU_FULL = "can't allocate memory"  # in the RuntimeError of torch's CPU allocator, which has no type of its own
ASKED = re.compile(r"[Tt]r(?:ied|ying) to allocate ([\d.]+) ?(bytes|[KMGT]iB)|Unable to allocate ([\d.]+) (\w+)")
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}


class TooLargeError(Exception):
    """A run did not get the memory that it asked for. Its text is one line, for users, with the numbers."""


@contextlib.contextmanager
def fitting(device: torch.device, workers: Workers) -> Iterator[None]:
    """Turns what is raised in the block for want of memory into a TooLargeError. Not so of one of several workers: the
    others would wait for it for ever, and so the group breaks."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # a torch.OutOfMemoryError is a RuntimeError
        full = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or CPU_FULL in str(error)
        if not full or workers.size > 1:
            raise
        line = told(device, str(error))
    else:
        return
    raise TooLargeError(line)


def told(device: torch.device, text: str) -> str:
    """The line: what was asked for, what is free, the process's share, and what the device has. `text`: the error's."""
    found = ASKED.search(text)
    number, unit = (found[1] or found[3], found[2] or found[4]) if found else ("", "")
    asked = in_words(int(float(number) * UNITS[unit])) + " more" if unit in UNITS else "more"
    free, total = on_cuda(device) if device.type == "cuda" else on_cpu()
    share = torch.cuda.get_per_process_memory_fraction(device) if device.type == "cuda" else 1.0
    part = f"{share:g} of it, {in_words(int(share * total))}" if share < 1 else ""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if device.type == "cpu" and limit != resource.RLIM_INFINITY:
        part = f"{in_words(limit)} of addresses"
    return (
        f"out of memory on {device.type}: it asked for {asked}; {in_words(free)} of {in_words(total)} are free"
        f"{f', and this process may take {part}' if part else ''}; make its sizes smaller, or give a run more"
    )


def on_cpu() -> tuple[int, int]:
    """Bytes that are free, and all; 0 where nobody tells."""
    with contextlib.suppress(OSError):
        if found := re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text()):
            return min(int(found[1]) * 1024, memory()), memory()
    return 0, memory()


def on_cuda(device: torch.device) -> tuple[int, int]:
    """Bytes of a CUDA device that are free, and all."""
    free, total = torch.cuda.mem_get_info(device)
    return int(free), int(total)


def limit_share(device: torch.device, share: float) -> None:
    """Lets this process take no more than `share` of a CUDA device's memory, of which others have the rest. What CUDA
    itself takes for a process, some hundred MB, is not counted."""
    if device.type == "cuda" and share < 1:
        torch.cuda.set_per_process_memory_fraction(share, device)


def release() -> None:
    """Frees what nobody refers to any more: the next run of this process is to find the room."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
