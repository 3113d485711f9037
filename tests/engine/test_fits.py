"""Parts in closed form: set once, before the first step of a fresh run, and the same for all workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gen.capabilities import Fits, Reconstructs
from gen.config import RunConfig, identity, override
from gen.data.dataset import Dataset
from gen.data.stream import Stream
from gen.distributed.workers import ALONE, Workers
from gen.engine.fit import CLOSED, fit
from gen.judge import Judge
from gen.on_ray.replay import ends
from gen.optimizers import Adam
from gen.phase import Batch, Logs, Model, Phase, Shape
from gen.record import checkpoint
from gen.record.record import Home
from gen.results.storage import Storage
from tests.engine.test_law import CPU, stepper
from tests.fixtures.pair import Pair


@dataclass(frozen=True)
class Centred:
    """An autoencoder of one number around the images' mean, which is fitted; `trained`: whether that number learns."""

    trained: bool = True
    optimizer: Adam = field(default_factory=Adam)

    def build(self, shape: Shape) -> Model:
        return Centre(self, shape)


class Centre(Model, Reconstructs, Fits):
    mean: Tensor
    noise: Tensor
    fits: Tensor

    def __init__(self, config: Centred, shape: Shape) -> None:
        super().__init__()
        self.config, self.scale = config, nn.Parameter(torch.full((1,), 0.5))
        self.register_buffer("mean", torch.zeros(shape.channels, shape.size, shape.size))
        self.register_buffer("noise", torch.zeros(4))
        self.register_buffer("fits", torch.tensor(0))

    def phases(self) -> list[Phase]:
        return [Phase("only", self, self.loss, self.config.optimizer)] if self.config.trained else []

    def fit(self, draw: Callable[[int], Batch]) -> None:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.mean.copy_(torch.cat([draw(index)["image"] for index in range(20)]).mean(0))
        self.noise.copy_(torch.randn(4))
        self.fits.add_(1)

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        return (batch["image"] - self.reconstruct(batch)["image"]).square().mean(), {}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": (self.mean + self.scale * (batch["image"] - self.mean)).clamp(-1, 1)}


def config(**settings: Any) -> RunConfig:
    small = {"budget.epochs": 2, "budget.checkpoint_seconds": 0, "evaluate.images": 60, "evaluate.full_images": 80}
    return override(RunConfig("centred", "test", Centred()), {**small, **settings})


def buffers(workers: Workers, dataset: Dataset) -> dict[str, Tensor]:
    torch.manual_seed(workers.rank)  # nobody's state of the generator matters
    steps = stepper(Centred().build(dataset.shape), dataset, workers, 2)
    steps.fit()
    return {name: buffer.clone() for name, buffer in steps.model.named_buffers()}


def test_one_and_two_workers_have_the_same_buffers(pair: Pair, digits: Dataset) -> None:
    alone = buffers(ALONE, digits)
    assert alone["noise"].abs().max() > 0
    stream = stepper(Centred().build(digits.shape), digits, ALONE, 2).stream
    seen = torch.cat([stream.rows(draw, 0, 16)["image"] for draw in range(10)])  # twenty batches of eight
    torch.testing.assert_close(alone["mean"], seen.mean(0))
    for together in pair.run(buffers, digits):
        assert all(torch.equal(value, together[name]) for name, value in alone.items())


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_run_fits_once_and_a_resumed_one_not_again(ema: float, digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    wanted = config(**{"train.ema": ema})
    storage, run = Storage(str(tmp_path)), identity(wanted, digits.hash)
    home = Home(storage, "experiment", "attempt")
    ticks = fit(wanted, digits, device=CPU, judge=judge, home=home)
    next(ticks)
    ticks.close()
    assert [tick.tick for tick in fit(wanted, digits, device=CPU, judge=judge, home=home)] == [2]
    last = checkpoint.load(storage, f"{checkpoint.folder('experiment', run)}/last.pt", CPU)
    assert last is not None
    best = checkpoint.load_best(storage, "experiment", run, CPU)  # of the averaged weights, where there are such
    stream = Stream(digits.splits["train"], wanted.seed, wanted.train.batch, CPU, torch.float32)
    seen = torch.cat([stream.rows(draw, 0, wanted.train.batch)["image"] for draw in range(20)])
    for weights in (last["stepper"]["model"], best["weights"]):
        assert weights["fits"] == 1
        assert weights["noise"].abs().max() > 0
        torch.testing.assert_close(weights["mean"], seen.mean(0))


def test_without_phases_a_run_is_one_tick_and_needs_no_more(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    wanted = config(**{"model.trained": False, "budget.epochs": 5})
    home = Home(Storage(str(tmp_path)), "experiment", "attempt", keep_last=False)
    (tick,) = fit(wanted, digits, device=CPU, judge=judge, home=home)
    assert (tick.tick, tick.step, tick.images, tick.ended, tick.why) == (1, 0, 0, "finished", CLOSED)
    run = identity(wanted, digits.hash)
    assert ends(home.storage, "experiment", {run: wanted})[run].status == "finished"  # a search leaves it alone
    assert checkpoint.load_best(home.storage, "experiment", run, CPU)["weights"]["fits"] == 1
