"""The device, the threads and the generator that a run computes with."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch

from gen.checks import one_of

_MASK = 2**64 - 1


def resolve_device(name: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda". ValueError for another, or if CUDA is asked for and there is none."""
    one_of("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda, but this machine has no CUDA device; allowed here: auto, cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def numbered(device: torch.device) -> torch.device:
    """The device with its number, which torch insists on where a share of memory is set: for "cuda" alone the current
    device, which is each thread's own."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


def memory() -> int:
    """Bytes of memory that processes of this machine, or of this container, may take; 0 if nobody tells."""
    found = []
    with contextlib.suppress(OSError, ValueError, AttributeError):  # not every system tells
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError):  # "max": no limit
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found, default=0)


def set_threads(count: int) -> None:
    """Sets the CPU threads of this process. Sums depend on their number, so it is recorded too."""
    torch.set_num_threads(count)


def seed(device: torch.device, *numbers: int) -> None:
    """Seeds torch's generators for `device` from whole numbers: the same numbers, the same noise."""
    state = 0
    for number in numbers:  # SplitMix64 (Steele et al. 2014): each number passes a full mix
        state = (state ^ (number & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    torch.default_generator.manual_seed(state)
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # until then there are no generators
        torch.cuda.default_generators[numbered(device).index].manual_seed(state)
