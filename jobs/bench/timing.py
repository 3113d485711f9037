"""What the subcommands share: measurements of several sides in turn, and their report."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import click
import torch

from gen.config import DataConfig, RunConfig, override
from gen.data.dataset import Dataset, open_dataset
from gen.distributed.machine import resolve_device, set_threads
from gen.zoo import entry as zoo_entry

OPTIONS = (
    click.option("--entry", default="vae_mlp", show_default=True),
    click.option(
        "--data-root", required=True, type=click.Path(exists=True), help="Folder of MNIST, in torchvision's layout."
    ),
    click.option("--device", default="auto", show_default=True),
    click.option("--rounds", default=5, show_default=True, help="Measurements of each side, taken in turn."),
)


def options(command: click.decorators.FC) -> click.decorators.FC:
    """Adds the options that benchmarks share."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def prepare(entry: str, data_root: str, device: str) -> tuple[RunConfig, Dataset, torch.device]:
    """The entry on MNIST, at one thread."""
    set_threads(1)
    config = override(zoo_entry(entry), {"data.name": "mnist", "machine.device": device}).resolve()
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
