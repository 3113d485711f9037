"""Tensors as bytes: how checkpoints, reference statistics and extractors are stored, and damaged ones refused."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

DAMAGED = (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError)
"""What PyTorch raises for bytes that are cut, overwritten or of something else, and what readers raise for values that
they do not expect."""


def to_bytes(value: Any) -> bytes:
    """Tensors, numbers, text or containers of them as bytes that `from_bytes` reads."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def from_bytes(data: bytes | Path, device: torch.device | str = "cpu") -> Any:
    """The value that `to_bytes` or `torch.save` stored, with its tensors on `device`. Nothing in the bytes is run. Call
    it inside `reading`, which turns what damaged bytes raise into a ValueError."""
    return torch.load(io.BytesIO(data) if isinstance(data, bytes) else data, map_location=device, weights_only=True)


@contextmanager
def reading(damaged: str) -> Iterator[None]:
    """Turns what damaged bytes raise inside into a ValueError with the text `damaged`, in which the reason replaces
    "{reason}"."""
    try:
        yield
    except DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(damaged.replace("{reason}", reason)) from error
