"""Throughput figures, side by side in one run, as medians over rounds.

python -m jobs.bench loader --data-root PATH   the bare engine against a plain PyTorch loop over DataLoader, on MNIST
python -m jobs.bench train --data-root PATH    the bare engine against jobs.train with one worker
python -m jobs.bench trials                    what a trial costs on a slot, in a process of its own, and nested
python -m jobs.bench kills --times N           kills searches at random, submits them again, counts rows
python -m jobs.bench fid --data-root PATH      parity with the pytorch-fid command, and the time of the trace
python -m jobs.bench memory --data NAME        what a set takes of a host's memory, by the number of processes
python -m jobs.bench prepare --archive ZIP     decoding an archive into a cache against torchvision's ImageFolder
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from gen import results
from gen.config import DataConfig, RunConfig, override
from gen.data.dataset import Dataset, open_dataset
from gen.data.stream import Stream
from gen.distributed.machine import resolve_device, set_threads
from gen.distributed.workers import ALONE
from gen.engine.fit import Home, build_model, fit
from gen.engine.step import Stepper
from gen.judge import Judge, shared_classifier
from gen.results.storage import Storage
from gen.zoo import entry as zoo_entry
from jobs.bench.data import memory, prepare
from jobs.bench.fid import fid
from jobs.bench.kills import kills
from jobs.bench.trials import trials
from jobs.options import refusing

OPTIONS = (
    click.option("--entry", default="vae_mlp", show_default=True),
    click.option(
        "--data-root", required=True, type=click.Path(exists=True), help="Folder of MNIST, in torchvision's layout."
    ),
    click.option("--device", default="auto", show_default=True),
    click.option("--rounds", default=5, show_default=True, help="Measurements of each side, taken in turn."),
)


@click.group(help=__doc__)
def main() -> None:
    """The benchmarks."""


def options(command: click.decorators.FC) -> click.decorators.FC:
    """Adds what the benchmarks share."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@main.command()
@options
@click.option("--steps", default=200, show_default=True, help="Steps of a measurement.")
def loader(entry: str, data_root: str, device: str, rounds: int, steps: int) -> None:
    """The same network, batch and optimiser: the engine and its stream against a loop over DataLoader."""
    with refusing():
        config, dataset, place = prepared(entry, data_root, device)
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


@main.command()
@options
@click.option("--epochs", default=10, show_default=True, help="Epochs of a measurement; aim at a minute.")
def train(entry: str, data_root: str, device: str, rounds: int, epochs: int) -> None:
    """Whole runs, evaluation, tables and checkpoints included: `fit` in this process against jobs.train on Ray."""
    with refusing():
        config, dataset, place = prepared(entry, data_root, device)
    config = override(config, {"budget.epochs": epochs})
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(folder)
        classifier = shared_classifier(dataset, storage, place)
        judge = Judge(dataset, classifier, place, config.evaluate.batch)

        def engine() -> Iterator[float]:
            for number in range(rounds):
                home = Home(storage, f"engine-{number}", "bench")
                for _ in fit(config, dataset, device=place, home=home, judge=judge):
                    pass
                yield images_a_second(storage, f"engine-{number}")

        def job() -> Iterator[float]:
            for number in range(rounds):
                name = f"job-{number}"
                arguments = {"entry": entry, "data": "mnist", "data-root": data_root, "epochs": epochs}
                arguments |= {"device": device, "storage": folder, "name": name}
                texts = [text for key, value in arguments.items() for text in (f"--{key}", str(value))]
                subprocess.run([sys.executable, "-m", "jobs.train", *texts], check=True, stdout=subprocess.DEVNULL)
                yield images_a_second(storage, name)

        report(in_turn({"engine": engine(), "jobs.train": job()}, rounds))


def images_a_second(storage: Storage, experiment: str) -> float:
    """Images a second of a run's ticks, training and evaluation together, from its tables."""
    last = results.metrics(storage, experiment).sort_values("tick").iloc[-1]
    return float(last["images"] / last["seconds"])


def prepared(entry: str, data_root: str, device: str) -> tuple[RunConfig, Dataset, torch.device]:
    """The entry on MNIST, at one thread."""
    set_threads(1)
    config = override(zoo_entry(entry), {"data.name": "mnist", "machine.device": device}).resolved()
    return config, open_dataset(DataConfig("mnist"), data_root), resolve_device(device)


def in_turn(sides: dict[str, Iterator[float]], rounds: int) -> dict[str, list[float]]:
    """Measurements of each side, taken in turn, so that a drifting machine serves all alike."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            found[name].append(next(side))
    return found


def report(found: dict[str, list[float]]) -> None:
    """Prints medians and ratios to the first side."""
    first = next(iter(found.values()))
    print(f"{'images a second':36}{'median':>10}{'min':>10}{'max':>10}   first / this, median of pairs")
    for name, values in found.items():
        ratio = statistics.median(one / other for one, other in zip(first, values, strict=True))
        print(f"{name:36}{statistics.median(values):10.0f}{min(values):10.0f}{max(values):10.0f}   {ratio:.3f}")


main.add_command(trials)
main.add_command(kills)
main.add_command(fid)
main.add_command(memory)
main.add_command(prepare)


if __name__ == "__main__":
    main()
