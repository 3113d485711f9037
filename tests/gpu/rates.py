"""How fast the engine's steps are, beside those of a plain loop: figures to read, never to assert."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable

import torch
from torch import Tensor

from gen.config import RunConfig, TwoStageConfig
from gen.data.columns import is_image
from gen.data.dataset import Dataset
from gen.engine.step import Stepper
from gen.phase import Batch, MicroBatch, Model
from tests.fixtures import tables
from tests.seams.house import ALL, needs_of, stepper


def usual_data(entry: str, rows: int) -> Dataset:
    """As many training images as are wanted, the same few again and again, of the entry's own size, or of MNIST's."""
    size = ALL[entry].data.size or 28
    dataset = tables.fitting(needs_of(entry), size)
    train = tuple(
        {name: column[torch.arange(rows) % len(column)] for name, column in table.items()}
        for table in dataset.splits["train"]
    )
    dataset = dataclasses.replace(dataset, splits={**dataset.splits, "train": train})
    return tables.coded(dataset) if isinstance(ALL[entry].model, TwoStageConfig) else dataset


def images_a_second(config: RunConfig, dataset: Dataset, device: torch.device, steps: int) -> tuple[float, float]:
    """Of the engine's steps, and of a plain loop over the same networks, losses and optimisers in float32."""
    run = stepper(config, dataset, device=device)
    run.fit()
    plain = plain_step(copy.deepcopy(run.model), run, dataset)
    return run.images_at(1) * a_second(run.advance, device, steps), run.images_at(1) * a_second(plain, device, steps)


def plain_step(model: Model, run: Stepper, dataset: Dataset) -> Callable[[], None]:
    """A step as a tutorial writes it: random rows of columns that lie on the device, then each player's moves."""
    device, size = run.device, run.config.batch * run.config.micro_batches
    held = [{name: column.to(device) for name, column in table.items()} for table in dataset.splits["train"]]
    phases, model.micro_batch = list(model.phases()), MicroBatch(0, 1)
    optimizers = [phase.optimizer.build(phase.player.parameters()) for phase in phases]

    def drawn() -> Batch:
        batch = dict[str, Tensor]()
        for table in held:
            rows = torch.randint(len(next(iter(table.values()))), (size,), device=device)
            picked = {name: column[rows] for name, column in table.items()}
            batch |= {name: rows / 127.5 - 1 if is_image(name) else rows for name, rows in picked.items()}
        with torch.no_grad():
            return model.prepare(batch)

    def step() -> None:
        first = drawn()
        for phase, optimizer in zip(phases, optimizers, strict=True):
            model.requires_grad_(False)
            phase.player.requires_grad_(True)
            for repeat in range(phase.repeats):
                optimizer.zero_grad()
                phase.loss(drawn() if repeat else first)[0].backward()
                optimizer.step()
                with torch.no_grad():
                    phase.project()

    return step


def a_second(step: Callable[[], None], device: torch.device, steps: int) -> float:
    """How often a second, after a few that warm up."""
    for _ in range(3):
        step()
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return steps / (time.perf_counter() - start)
