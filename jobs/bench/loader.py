"""The bare engine against a plain PyTorch loop over DataLoader, on MNIST."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from gen.config import RunConfig
from gen.data.dataset import Dataset
from gen.data.stream import Stream
from gen.distributed.workers import ALONE
from gen.engine.build import build_model
from gen.engine.step import Stepper
from jobs.bench.timing import in_turn, options, prepare, report
from jobs.options import refusing


@click.command(short_help="The engine against a PyTorch loop over DataLoader, on MNIST.")
@options
@click.option("--steps", default=200, show_default=True, help="Steps of a measurement.")
def loader(entry: str, data_root: str, device: str, rounds: int, steps: int) -> None:
    """The same network, batch and optimiser: the engine and its stream against a loop over DataLoader."""
    with refusing():
        config, dataset, place = prepare(entry, data_root, device)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(Path(data_root) / "MNIST", Path(folder) / "MNIST")
        originals = MNIST(folder, download=True, transform=transforms.ToTensor())  # unpacks the archives that are there
        sides = {"engine": engine_images(config, dataset, place, steps)}
        for processes in (0, 2):
            sides[f"DataLoader, {processes} loader processes"] = plain_images(
                config, dataset, originals, place, steps, processes
            )
        in_turn(sides, 1)  # warm-up
        report(in_turn(sides, rounds))


def engine_images(config: RunConfig, dataset: Dataset, device: torch.device, steps: int) -> Iterator[float]:
    """Images a second of `steps` steps of the engine, again and again."""
    draw = config.train.batch * config.train.micro_batches
    stream = Stream(dataset.splits["train"], config.seed, draw, device, torch.float32)
    stepper = Stepper(build_model(config, dataset, device), config.train, config.seed, stream, device, ALONE)
    while True:
        start, before = time.perf_counter(), stepper.images
        for _ in range(steps):
            stepper.advance()
        stepper.take_logs()  # waits for the device
        yield (stepper.images - before) / (time.perf_counter() - start)


def plain_images(
    config: RunConfig, dataset: Dataset, originals: MNIST, device: torch.device, steps: int, processes: int
) -> Iterator[float]:
    """Images a second of the loop that a tutorial would show, for a model of one phase."""
    model = build_model(config, dataset, device).train()
    (phase,) = model.phases()
    optimizer = torch.optim.Adam(model.parameters())
    batches = DataLoader(originals, config.train.batch, shuffle=True, num_workers=processes, drop_last=True)
    while True:
        start, done, total = time.perf_counter(), 0, 0.0
        for image, _ in batches:
            optimizer.zero_grad()
            loss, _ = phase.loss({"image": image.to(device) * 2 - 1})
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item()
            done += 1
            if done == steps:
                break
        yield done * config.train.batch / (time.perf_counter() - start)
