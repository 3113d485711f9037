"""A process that may take a part of a device's memory, and what is said where that is too little."""

from __future__ import annotations

import contextlib
import gc
import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from gen.distributed.machine import memory, numbered
from gen.distributed.workers import Workers
from gen.results.room import in_words

CONTEXT = 2**30
"""Bytes of a GPU that a process takes beside torch's allocator, where no fraction counts them: CUDA's context and the
kernels in it, 426 and 616 MiB in two reports of 2026 (https://github.com/unslothai/unsloth-zoo/pull/1053,
https://github.com/LMCache/LMCache/issues/4019), then what cuBLAS and cuDNN keep. Not measured while a run trains: CUDA
tells a process what is free of the GPU, not what is its own. `make gpu` prints what its process takes."""
FULL = re.compile(
    r"can't allocate memory"  # torch's CPU allocator, whose RuntimeError has no type of its own
    r"|CUDA (?:error: |driver error: |ran )?out of memory"  # of the runtime (torch.AcceleratorError), the driver, cuDNN
    r"|CU[A-Z_]+_ALLOC(?:ATION)?_FAILED"  # CUBLAS_STATUS_ALLOC_FAILED, and cuDNN's and the others'
)
ASKED = re.compile(
    r"(?:[Tt]r(?:ied|ying) to allocate|Unable to allocate|Requested size:) ([\d.]+) ?(bytes|[KMGTP]iB)\b"
)
ADVICE = "make its sizes smaller, or give a run more"
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}


class TooLargeError(Exception):
    """A run did not get the memory that it asked for. Its text is one line, for users, with the numbers."""


@contextlib.contextmanager
def fitting(device: torch.device, workers: Workers) -> Iterator[None]:
    """Turns what is raised in the block for want of memory into a TooLargeError. Not so of one of several workers: the
    others would wait for it for ever, and so the group breaks."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # the errors of torch are RuntimeErrors
        full = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or FULL.search(str(error))
        if not full or workers.size > 1:
            raise
        line = told(device, str(error))
    else:
        return
    raise TooLargeError(line)


@contextlib.contextmanager
def noting(device: torch.device, workers: Workers, note: Callable[[str], object]) -> Iterator[None]:
    """As `fitting`, but `note` gets the line, and what comes after the block is done."""
    try:
        with fitting(device, workers):
            yield
    except TooLargeError as error:
        note(str(error))


def told(device: torch.device, text: str) -> str:
    """The line: what was asked for, what is free, what the process may take, and what the device has. `text`: the
    error's."""
    found = ASKED.search(text)
    asked = in_words(int(float(found[1]) * UNITS[found[2]])) + " more" if found else "more"
    return f"out of memory on {device.type}: it asked for {asked}; {room_in_words(device)}; {ADVICE}"


def room_in_words(device: torch.device) -> str:
    """What is free of a device, and what this process may take of it if that is not all."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if device.type == "cuda":
        try:
            free, total = torch.cuda.mem_get_info(device)
            most = limit_of(device)
        except RuntimeError as error:  # not even the context, by which one asks, found room
            return f"what is free there cannot be asked ({str(error).strip().splitlines()[0]})"
        part = f"{in_words(most)} of it" if most < total else ""
    else:
        free, total = on_cpu()
        part = f"{in_words(limit)} of addresses" if limit != resource.RLIM_INFINITY else ""
    return f"{in_words(free)} of {in_words(total)} are free{f', and this process may take {part}' if part else ''}"


def on_cpu() -> tuple[int, int]:
    """Bytes that are free, and all; 0 where nobody tells."""
    with contextlib.suppress(OSError):
        if found := re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text()):
            return min(int(found[1]) * 1024, memory()), memory()
    return 0, memory()


def limit_share(device: torch.device, share: float) -> None:
    """Lets this process take no more than `share` of a CUDA device's memory, of which others have the rest. What CUDA
    itself takes for a process is of the share too: torch's allocator gets `CONTEXT` less, but half of the share at
    least. So on a GPU whose shares are below two contexts, all processes together may want more than there is."""
    if device.type == "cuda" and share < 1:
        _, total = torch.cuda.mem_get_info(device)
        torch.cuda.set_per_process_memory_fraction(share - min(CONTEXT / total, share / 2), numbered(device))


def limit_of(device: torch.device) -> int:
    """Bytes of a CUDA device that torch's allocator may take in this process; all of them where nobody limited it."""
    _, total = torch.cuda.mem_get_info(device)
    return int(torch.cuda.get_per_process_memory_fraction(numbered(device)) * total)


def room(device: torch.device) -> int:
    """Bytes of a CUDA device that this process can still fill: what is free of the device and of the process's share,
    and what its allocator holds and does not use."""
    free, _ = torch.cuda.mem_get_info(device)
    held, used = torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
    return min(free, limit_of(device) - held) + held - used


def release() -> None:
    """Frees what nobody refers to any more: the next run of this process is to find the room."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
