"""Checkpoints: one file each, which appears whole, and which runs no code when it is loaded."""

from __future__ import annotations

import re
from typing import Any

import torch

from gen.results.queries import read, run_of
from gen.results.storage import Storage
from gen.tensors import from_bytes, reading, to_bytes

VERSION = 1
TRIES = 3  # to read the best weights of a run that replaces them meanwhile


def folder(experiment: str, run: str) -> str:
    """Where a run's checkpoints lie under the storage."""
    return f"{experiment}/_checkpoints/{run}"


def save(storage: Storage, path: str, state: dict[str, Any]) -> None:
    """Puts `state` (tensors, numbers, text and containers of them) at `path`: all of it or nothing."""
    storage.put(path, to_bytes({"version": VERSION, **state}))


def load(storage: Storage, path: str, device: torch.device) -> dict[str, Any] | None:
    """The state that `save` put at `path`, on `device`; None if there is no file. ValueError if it cannot be read."""
    data = storage.get(path)
    if data is None:
        return None
    with reading(f"{storage.place}/{path} is not a checkpoint ({{reason}}); delete it to start again"):
        state: dict[str, Any] = from_bytes(data, device)
        version = state["version"]
    if version != VERSION:
        raise ValueError(f"{storage.place}/{path} has version {version}; this program reads {VERSION}")
    return state


def best_name(tick: int) -> str:
    """The name of the file of the best weights, which are those of `tick`."""
    return f"best-{tick:06d}.pt"


def best_tick(storage: Storage, experiment: str, run: str) -> int:
    """The tick of a run's stored best weights; 0 if it has none."""
    names = storage.list(folder(experiment, run))
    found = [int(match[1]) for name in names if (match := re.fullmatch(r"best-(\d+)\.pt", name))]
    return max(found, default=0)


def find_run(storage: Storage, experiment: str, text: str) -> str:
    """The whole name of the run that `text` names or begins; `text` itself if there is none. ValueError if there is
    more than one."""
    if text and storage.list(folder(experiment, text)):
        return text
    names = set(read(storage, experiment, "runs")["run"])
    return run_of(text, names, f"experiment {experiment}") or text


def load_best(storage: Storage, experiment: str, run: str, device: torch.device) -> dict[str, Any]:
    """The best weights of a run, those so far if it goes on: "weights", "config" (JSON), "shape" (channels, size,
    classes), "grey" (columns whose images all have three equal channels; not in files of earlier versions), "tick",
    "epoch", "step", "images", "metric", "value", "kind" (raw or ema). ValueError if the run has none."""
    for _ in range(TRIES):
        names = [name for name in storage.list(folder(experiment, run)) if name.startswith("best-")]
        state = load(storage, f"{folder(experiment, run)}/{names[-1]}", device) if names else None
        if state is not None:
            return state
    raise ValueError(f"run {run} of experiment {experiment} at {storage} has no stored weights")
