"""Checkpoints: one file each, which appears whole, and which runs no code when it is loaded."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gen.damage import DamageError, remark
from gen.results.queries import find_run as find_recorded
from gen.results.queries import read, run_of, shown
from gen.results.storage import Storage, is_name
from gen.tensors import END, comment_of, from_bytes, reading, to_bytes, with_comment

VERSION = 1
TAIL = 256  # bytes at a file's end that hold its comment
BLANK = b"genfleet: no checkpoint yet "  # how a file begins that stands for none
TRIES = 3  # to read the best weights of a run that replaces them meanwhile
BEST: Mapping[str, type | tuple[type, ...]] = {  # what a file of best weights holds, at least
    "weights": dict,
    "config": str,
    "shape": (tuple, list),
    "tick": int,
    "epoch": float,
    "step": int,
    "images": int,
    "metric": str,
    "value": float,
}
LAST: Mapping[str, type | tuple[type, ...]] = {"config": str, "stepper": dict, "progress": dict}  # and of a last state
AGAIN = "delete it, and the same submitted again trains the run from its beginning"
COPY = "put a copy of it back, or train the run again under another --name"


def folder(experiment: str, run: str) -> str:
    """Where a run's checkpoints lie under the storage."""
    return f"{experiment}/_checkpoints/{run}"


def save(storage: Storage, path: str, state: dict[str, Any]) -> None:
    """Puts `state` (tensors, numbers, text and containers of them) at `path`: all of it or nothing."""
    data = to_bytes({"version": VERSION, **state})
    fence = storage.fence
    if fence is None or not fence.conditional:
        storage.put(path, data)
    else:
        storage.put(path, with_comment(data, fence.attempt), new_blank)


def new_blank() -> bytes:
    """What is put before the first checkpoint of a name (see `gen.results.fence`), unlike what was ever put."""
    return BLANK + secrets.token_hex(8).encode()


def adopt(storage: Storage, path: str) -> bool:
    """Lets no earlier attempt write a checkpoint any more from which this one is about to go on; whether it had to."""
    fence = storage.fence
    if fence is None or not fence.conditional:
        return False
    tail = storage.conditional.tail(path, TAIL)
    if tail is None or comment_of(tail) == fence.attempt:  # none, or this attempt's own
        return False

    def adopted(data: bytes) -> bytes:
        """The same checkpoint. What is damaged stays so: `load` will tell."""
        return with_comment(data, fence.attempt) if END in data else data + new_blank()

    return storage.conditional.change(path, adopted)


def load(storage: Storage, path: str, device: torch.device) -> dict[str, Any] | None:
    """The state that `save` put at `path`, on `device`; None if there is no file. DamageError for a file whose bytes
    are not those that were stored, or that holds something else; ValueError for another version."""
    data = storage.get(path)
    if data is None or data.startswith(BLANK):
        return None
    is_best = path.rpartition("/")[2].startswith("best-")
    with reading(f"{storage}/{path} is not a checkpoint ({{reason}}); {COPY if is_best else AGAIN}"):
        state: dict[str, Any] = from_bytes(data, device)
        version = check_parts(state, {"version": int})["version"]
        if version == VERSION:
            check_parts(state, BEST if is_best else LAST)
    if version != VERSION:
        raise ValueError(f"{storage}/{path} has version {version}; this program reads {VERSION}")
    return state


def check_parts(state: Any, parts: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """`state`, a checkpoint. DamageError unless it is a dict that has these parts, each of its type."""
    if not isinstance(state, dict):
        raise DamageError(f"it holds a {type(state).__name__}")
    for name, kind in parts.items():
        if not isinstance(state.get(name), kind):
            raise DamageError(f"its {name} is a {type(state[name]).__name__}" if name in state else f"it has no {name}")
    return state


def put_weights(model: nn.Module, weights: Mapping[str, Tensor], run: str) -> None:
    """Loads the stored weights of `run` into its model. DamageError if they are those of another one."""
    with reading(f"the stored weights of run {run} do not fit its model ({{reason}}); {COPY}"):
        model.load_state_dict(dict(weights))


def check_last(storage: Storage, experiment: str, run: str) -> None:
    """DamageError if the last state of a run, from which it would go on, or its best weights so far are damaged; a run
    that begins has neither."""
    last = load(storage, f"{folder(experiment, run)}/last.pt", torch.device("meta"))
    if last is not None and (tick := last["progress"].get("best_tick")):
        load(storage, f"{folder(experiment, run)}/{best_name(tick)}", torch.device("meta"))


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
    more than one, or for a text that can be no name, such as "RUN/"."""
    if text and not is_name(text):
        return find_recorded(storage, experiment, text)
    if text and storage.list(folder(experiment, text)):
        return text
    names = set(read(storage, experiment, "runs")["run"])
    return run_of(text, names, f"experiment {experiment}") or text


def load_best(storage: Storage, experiment: str, run: str, device: torch.device) -> dict[str, Any]:
    """The best weights of a run, those so far if it goes on: "weights", "config" (JSON), "shape" (channels, size,
    classes), "grey" (columns whose images all have three equal channels; not in files of earlier versions), "tick",
    "epoch", "step", "images", "metric", "value", "kind" (raw or ema). Where those are damaged and earlier ones are
    still there, it is these, and a remark says so. ValueError if the run has none, DamageError if all are damaged."""
    damaged: list[DamageError] = []
    for _ in range(TRIES):
        names = [name for name in storage.list(folder(experiment, run)) if name.startswith("best-")]
        damaged = []
        for name in reversed(names):
            try:
                state = load(storage, f"{folder(experiment, run)}/{name}", device)
            except DamageError as error:
                damaged.append(error)
                continue
            if state is not None:
                for one in damaged:
                    remark(f"{one}; meanwhile the earlier {name} is used")
                return state
    if damaged:
        raise damaged[0]
    there = [name for name in storage.folders(folder(experiment, "")) if best_tick(storage, experiment, name)]
    raise ValueError(
        f"run {run} of experiment {experiment} at {storage} has no stored weights; those that have: "
        f"{shown(there) or 'none'}"
    )
