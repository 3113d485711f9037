"""A run that cannot even be built for want of memory: it ends as failed, like one that lacks memory later."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from gen.config import RunConfig
from gen.data.dataset import Dataset
from gen.distributed.memory import TooLargeError, release
from gen.distributed.workers import ALONE
from gen.engine.build import outline
from gen.engine.tick import Tick
from gen.judge import Judge
from gen.phase import Model
from gen.record.record import Home, Record


class Unbuilt:
    """The training of a run that has no weights in memory, as far as its record asks for it."""

    workers, draws = ALONE, 1

    def __init__(self, model: Model) -> None:
        self.model, self.device = model, torch.device("meta")  # where a checkpoint takes no memory
        self.step = self.images = 0

    def state_dict(self) -> dict[str, Any]:
        """Nothing: it stores no checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Notes how far the run is."""
        self.step, self.images = state["step"], state["images"]


def end_unbuilt(
    config: RunConfig, dataset: Dataset, device: torch.device, home: Home | None, judge: Judge | None, why: str
) -> Tick:
    """Records the end of a run at its next tick, and gives that. TooLargeError for one of two stages, of which nothing
    is known before its first stage has run."""
    release()
    model = outline(config, dataset.shape)
    if model is None:
        raise TooLargeError(why)
    metric = judge.full_name(config.evaluate.metric) if judge else config.evaluate.metric
    if home:
        home = replace(home, facts={**home.facts, "device": device.type})
    record, training = Record(home, config, dataset, ALONE, metric), Unbuilt(model)
    progress = record.resume(training)
    progress.tick += 1
    progress.status, progress.why, progress.last = "failed", why, math.nan
    record.end(progress, training)
    tick, epoch = progress.tick, float(progress.tick * config.evaluate.every)
    at = (tick, epoch, training.step, training.images, progress.seconds)
    return Tick(*at, best=progress.best, ended="failed", why=why)
