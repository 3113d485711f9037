"""Tensors as bytes: how checkpoints, references and extractors are stored, and the one guard of reading them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

DAMAGED = (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError)
"""What PyTorch raises of bytes that are cut, overwritten or of something else, and readers of values that they do not
expect."""


def to_bytes(value: Any) -> bytes:
    """Tensors, numbers, text and containers of them, for `from_bytes`."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def from_bytes(data: bytes | Path, device: torch.device | str = "cpu") -> Any:
    """What `to_bytes` stored, or a file of PyTorch's, with tensors on `device`; none of pickle's powers. Inside
    `reading`, for what it raises of damaged bytes."""
    return torch.load(io.BytesIO(data) if isinstance(data, bytes) else data, map_location=device, weights_only=True)


@contextmanager
def reading(damaged: str) -> Iterator[None]:
    """Turns what damaged bytes raise inside into a ValueError that says `damaged`, "{reason}" in it replaced."""
    try:
        yield
    except DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(damaged.replace("{reason}", reason)) from error
