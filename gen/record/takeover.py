"""The state from which a member of a population goes on after it took over another's: EXPERIMENT/_checkpoints/RUN/
taken-TICK.pt. It is stored before the decision is on record, so nobody needs the other's checkpoint any more; it goes
once the run has a later state of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from gen.record import checkpoint
from gen.results.storage import Storage

PREFIX = "taken-"
OF_WEIGHTS = ("last", "guards", "watched", "collapsed")  # parts of a run's progress that tell of its present weights
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Exploit:
    """Where a run took over the state of another, the last time it did."""

    tick: int
    settings: Mapping[str, Any] = field(default_factory=dict)  # over those with which it began, in force since then


def name(tick: int) -> str:
    """The name of the file."""
    return f"{PREFIX}{tick:06d}.pt"


def store(storage: Storage, experiment: str, run: str, source: str, tick: int) -> None:
    """Puts the state of `source` in store for `run`: the training of the one, how far the other is, and its name. Both
    stand at `tick`. Done again, it gives the same. ValueError if one of them has no state of that tick."""
    own, theirs = (state_at(storage, experiment, one, tick) for one in (run, source))
    progress = own["progress"] | {part: theirs["progress"][part] for part in OF_WEIGHTS}
    state = {**own, "stepper": theirs["stepper"], "progress": progress}
    checkpoint.save(storage, f"{checkpoint.folder(experiment, run)}/{name(tick)}", state)


def state_at(storage: Storage, experiment: str, run: str, tick: int) -> dict[str, Any]:
    """The last state of a run, which is that of `tick`. ValueError if it is not."""
    path = f"{checkpoint.folder(experiment, run)}/last.pt"
    state = checkpoint.load(storage, path, CPU)
    if state is None or state["progress"]["tick"] != tick:
        stands = "is not there" if state is None else f"is of tick {state['progress']['tick']}"
        raise ValueError(f"{storage}/{path} {stands}, and the population stands at tick {tick}; {checkpoint.COPY}")
    return state


def forget(storage: Storage, folder: str, tick: int) -> None:
    """Deletes the states that a run took over before `tick`, of which it has a later one of its own."""
    for one in storage.list(folder):
        if one.startswith(PREFIX) and one < name(tick):
            storage.delete(f"{folder}/{one}")
