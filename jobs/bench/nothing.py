"""A process of a search whose runs do no work, and leave the rows of runs."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from gen.config import RunConfig
from gen.data.dataset import Dataset
from gen.distributed.workers import ALONE
from gen.engine.fit import Tick
from gen.on_ray.trainable import Resident
from gen.record.progress import Progress
from gen.record.record import Home, Record

SIDE = "_side"  # folder of the side ledger, in that of the experiment


class Model:
    """A model without parameters."""

    def count_learned(self) -> int:
        """None."""
        return 0


class Nothing:
    """The training of a run that does none, as a record sees it."""

    def __init__(self) -> None:
        self.step = self.draws = self.images = 0
        self.model: Any = Model()
        self.device, self.workers = torch.device("cpu"), ALONE

    def state_dict(self) -> dict[str, Any]:
        """The step."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self.step = state["step"]


class Idle(Resident):
    """A process whose runs do nothing but what leaves rows."""

    def launch(self, config: RunConfig, home: Home) -> Generator[Tick, str | None, None]:
        """The run's ticks."""
        return idle(config, self.search.dataset(config, torch.device("cpu")), home)


def idle(config: RunConfig, dataset: Dataset, home: Home) -> Generator[Tick, str | None, None]:
    """As `fit`, without a model. A tick, and an end that is in storage, are noted in the side ledger."""
    kept, training = Record(home, config, dataset, ALONE, config.evaluate.metric), Nothing()
    progress = kept.resume(training)
    value = float(int(kept.run, 16) % 1_000_003)
    while not progress.status:
        progress.tick += 1
        training.step += 1
        progress.last = progress.best = value * (1 + 1 / progress.tick)
        kept.rows(progress, training, {"idle/value": progress.last}, [], "tick")
        note(home, kept.run, progress.tick)
        if progress.tick == config.budget.epochs:
            progress.status, progress.why = "finished", f"{progress.tick} epochs"
            kept.end(progress, training)
            note(home, kept.run, progress.tick, "finished")
        try:
            why = yield tick_of(progress)
        except GeneratorExit:
            if not progress.status:
                kept.save(progress, training)
            raise
        if why and not progress.status:
            progress.status, progress.why = "stopped", why
            kept.end(progress, training)
            note(home, kept.run, progress.tick, "stopped")
            yield tick_of(progress)


def tick_of(progress: Progress) -> Tick:
    """Where a run stands."""
    here = {"tick": progress.tick, "epoch": float(progress.tick), "step": progress.tick, "images": 0}
    told = {"metrics": {}, "evals": {}, "value": progress.last, "best": progress.best}
    return Tick(seconds=0.0, ended=progress.status, why=progress.why, **here, **told)  # type: ignore[arg-type]


def note(home: Home, run: str, tick: int, status: str = "") -> None:
    """Adds a line to the side ledger, in a file of this process: it is in the system's hands when this returns."""
    folder = Path(home.storage.place, home.experiment, SIDE)
    folder.mkdir(parents=True, exist_ok=True)
    with Path(folder, str(os.getpid())).open("a") as file:
        file.write(f"{time.time()} {run} {tick} {status}\n")
