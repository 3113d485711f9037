"""The engine's own work as a share of a step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import click
import torch

from gen.config import RunConfig, flat, override
from gen.data.dataset import Dataset, open_dataset
from gen.data.stream import Stream
from gen.distributed.machine import resolve_device, set_threads
from gen.distributed.workers import ALONE
from gen.engine.build import build_model
from gen.engine.step import Stepper
from gen.phase import Batch, MicroBatch, Model, nothing
from gen.zoo import entry as zoo_entry
from jobs.bench.timing import in_turn
from jobs.options import refusing

WIDTHS = ("width", "hidden", "generator_width", "critic_width")  # settings of networks that --width sets


@click.command(short_help="The engine's own work as a share of a step.")
@click.option("--entry", default="vae_mlp", show_default=True)
@click.option(
    "--width", default=16, show_default=True, help="Of the networks: the smaller, the more the engine weighs."
)
@click.option("--batch", default=32, show_default=True, help="Images a step.")
@click.option("--device", default="auto", show_default=True)
@click.option("--steps", default=20, show_default=True, help="Steps of a measurement.")
@click.option("--rounds", default=101, show_default=True, help="Measurements of each side, taken in turn.")
def engine(entry: str, width: int, batch: int, device: str, steps: int, rounds: int) -> None:
    """A step of the engine against the same tensors' work by hand, on digits: rows, losses, backward, optimisers."""
    with refusing():
        set_threads(1)
        config, place = narrow(zoo_entry(entry), width, batch), resolve_device(device)
        dataset = open_dataset(config.data)
        parts = (build_model(config, dataset, place), rows(config, dataset, place))
        stepper = Stepper(parts[0], config.train, config.seed, parts[1], place, ALONE)
        bare = Bare(build_model(config, dataset, place), rows(config, dataset, place), batch)
    sides = {"engine": time_steps(stepper, place, steps), "by hand": time_steps(bare, place, steps)}
    in_turn(sides, max(1, rounds // 10))  # warm-up
    found = in_turn(sides, rounds)
    print(f"{entry}, width {width}, batch {batch}, {dataset.name}, {place.type}, {torch.get_num_threads()} thread")
    print(f"{'milliseconds a step':24}{'median':>10}{'min':>10}{'max':>10}")
    for name, values in found.items():
        print(f"{name:24}" + "".join(f"{1e3 * of(values):10.4f}" for of in (statistics.median, min, max)))
    medians = {name: statistics.median(values) for name, values in found.items()}
    print("images a second: " + ", ".join(f"{name} {batch / median:.1f}" for name, median in medians.items()))
    print(f"share = 1 - by hand / engine = {1 - medians['by hand'] / medians['engine']:.3f}")


def narrow(config: RunConfig, width: int, batch: int) -> RunConfig:
    """The entry with networks of that width."""
    keys = [key for key in flat(config) if key.startswith("model.") and key.rsplit(".", 1)[-1] in WIDTHS]
    return override(config, dict.fromkeys(keys, width) | {"train.batch": batch}).resolve()


def rows(config: RunConfig, dataset: Dataset, device: torch.device) -> Stream:
    """The training images as the engine draws them."""
    train, batch = dataset.splits["train"], config.train.batch
    return Stream(train, config.seed, batch, device, torch.float32, augment=config.data.augment)


class Bare:
    """A model's steps by hand: nothing is frozen, seeded, watched, averaged or measured."""

    def __init__(self, model: Model, stream: Stream, batch: int) -> None:
        self.model, self.stream, self.batch = model.train(), stream, batch
        self.phases = list(model.phases())
        self.players = [list(phase.player.parameters()) for phase in self.phases]
        self.optimizers = [phase.optimizer.build(phase.player.parameters()) for phase in self.phases]
        self.draw = 0
        model.micro_batch = MicroBatch(0, 1)  # so that a codebook counts the vectors of each code, as in training

    def advance(self) -> None:
        """One step, with the engine's draws, losses, gradients of the players alone, and projections."""
        first = self.next_draw()
        for phase, player, optimizer in zip(self.phases, self.players, self.optimizers, strict=True):
            for repeat in range(phase.repeats):
                batch = self.next_draw() if repeat else first
                optimizer.zero_grad()
                loss, _ = phase.loss(batch)
                loss.backward(inputs=player)  # type: ignore[no-untyped-call]
                optimizer.step()
                if phase.project is not nothing:
                    with torch.no_grad():
                        phase.project()

    def next_draw(self) -> Batch:
        """The next draw, with the columns that the model prepares."""
        with torch.no_grad():
            batch = self.model.prepare(self.stream.rows(self.draw, 0, self.batch))
        self.draw += 1
        return batch


def time_steps(side: Stepper | Bare, device: torch.device, steps: int) -> Iterator[float]:
    """Seconds a step, as means of `steps` steps, again and again."""
    while True:
        start = time.perf_counter()
        for _ in range(steps):
            side.advance()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        yield (time.perf_counter() - start) / steps
