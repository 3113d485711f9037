"""Checkpoints: one file each, put in place whole, loaded without pickle's powers."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch

from gen.results.storage import Storage

VERSION = 1


def folder(experiment: str, run: str) -> str:
    """Where a run's checkpoints lie under the storage."""
    return f"{experiment}/_checkpoints/{run}"


def save(storage: Storage, path: str, state: dict[str, Any]) -> None:
    """Puts `state` (tensors, numbers, text and containers of them) at `path`: all of it or nothing."""
    buffer = io.BytesIO()
    torch.save({"version": VERSION, **state}, buffer)
    storage.put(path, buffer.getvalue())


def load(storage: Storage, path: str, device: torch.device) -> dict[str, Any] | None:
    """What `save` put there, with tensors on `device`; None if there is nothing. ValueError if it cannot be read."""
    data = storage.get(path)
    if data is None:
        return None
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{storage.place}/{path} is not a checkpoint ({reason}); delete it to start again") from None
    if state["version"] != VERSION:
        raise ValueError(f"{storage.place}/{path} has version {state['version']}; this program reads {VERSION}")
    return state


def best_name(tick: int) -> str:
    """The file of the best weights, those of `tick`."""
    return f"best-{tick:06d}.pt"


def load_best(storage: Storage, experiment: str, run: str, device: torch.device) -> dict[str, Any]:
    """The best weights of a run: "weights", "config" (JSON), "shape" (channels, size, classes), "tick", "epoch",
    "step", "images", "metric", "value", "kind" (raw or ema). ValueError if the run has none."""
    names = [name for name in storage.list(folder(experiment, run)) if name.startswith("best-")]
    state = load(storage, f"{folder(experiment, run)}/{names[-1]}", device) if names else None
    if state is None:
        raise ValueError(f"run {run} of experiment {experiment} at {storage.place} has no stored weights")
    return state
