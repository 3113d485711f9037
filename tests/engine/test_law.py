"""N workers at batch B compute what one worker computes that accumulates N micro-batches of B."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gen.config import TrainConfig, override
from gen.data.dataset import Dataset
from gen.data.stream import Stream
from gen.distributed.workers import ALONE, Workers
from gen.engine.build import build_model
from gen.engine.step import Stepper
from gen.optimizers import Adam
from gen.phase import Batch, Logs, Model, Phase
from gen.zoo import ZOO, tiny
from tests.fixtures.pair import Pair

CPU = torch.device("cpu")


class Normed(Model):
    """Two players, each with BatchNorm: what the zoo's networks will have."""

    unmoved = dict.fromkeys(("generator.0.bias", "critic.0.bias", "critic.3.bias"), "cancels in a difference")

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, pixels))
        self.critic = nn.Sequential(nn.Linear(pixels, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        self.first_stage = nn.Sequential(nn.Linear(pixels, pixels), nn.BatchNorm1d(pixels))  # nobody's player

    def phases(self) -> list[Phase]:
        return [
            Phase("critic", self.critic, self.critic_loss, Adam()),
            Phase("generator", self.generator, self.generator_loss, Adam()),
        ]

    def prepare(self, batch: Batch) -> Batch:
        image = batch["image"].flatten(1)
        latent = torch.randn(len(image), 4, dtype=image.dtype)
        return {**batch, "flat": self.first_stage(image), "latent": latent, "fake": self.generator(latent)}

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        loss = (self.critic(batch["fake"]) - self.critic(batch["flat"])).square().mean()
        return loss, {"twice": 2 * loss}

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        return -self.critic(self.generator(batch["latent"])).mean(), {}


def stepper(model: Model, dataset: Dataset, workers: Workers, micro_batches: int) -> Stepper:
    config = TrainConfig(batch=8, micro_batches=micro_batches, precision="float64")
    stream = Stream(dataset.splits["train"], 0, 8 * micro_batches, CPU, torch.float64)
    return Stepper(model.double(), config, 0, stream, CPU, workers)


def built(entry: str, dataset: Dataset) -> Model:
    config = override(tiny(ZOO[entry]), {"train.precision": "float64"})
    return build_model(config, dataset, CPU)


def normed(dataset: Dataset) -> Model:
    torch.manual_seed(0)
    return Normed(dataset.shape.pixels)


def gradients(workers: Workers, entry: str, dataset: Dataset, micro_batches: int) -> dict[str, Tensor]:
    """Every player's averaged gradient before its optimiser moves, and all buffers after the step."""
    model = built(entry, dataset) if entry in ZOO else normed(dataset)
    steps = stepper(model, dataset, workers, micro_batches)
    found: dict[str, Tensor] = {}
    for number, phase in enumerate(steps.phases):
        for repeat in range(phase.repeats):
            drawn = steps._draw(repeat)
            with steps.freezer.thawing(number):
                steps.gradients(number, repeat, drawn)
                for name, parameter in phase.player.named_parameters():
                    assert parameter.grad is not None
                    found[f"{phase.name}/{repeat}/{name}"] = parameter.grad.clone()
        steps.project(number, 0)
    return found | {f"buffer/{name}": buffer.clone() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize("entry", [*ZOO, "normed"])
@pytest.mark.parametrize("micro_batches", [2, 4])
def test_two_workers_compute_what_one_accumulates(
    entry: str, micro_batches: int, pair: Pair, fitting: Callable[[str], Dataset]
) -> None:
    dataset = fitting(entry)
    alone = gradients(ALONE, entry, dataset, micro_batches)
    for together in pair.run(gradients, entry, dataset, micro_batches):
        assert together.keys() == alone.keys()
        for name, expected in alone.items():
            torch.testing.assert_close(together[name], expected, rtol=1e-9, atol=1e-12, msg=name)
    gradients_alone = [value for name, value in alone.items() if not name.startswith("buffer/")]
    assert not gradients_alone or max(value.abs().max() for value in gradients_alone) > 1e-6


def ten_steps(workers: Workers, entry: str, dataset: Dataset) -> tuple[dict[str, Tensor], dict[str, float]]:
    steps = stepper(built(entry, dataset), dataset, workers, 2)
    for _ in range(10):
        steps.advance()
    return steps.model.state_dict(), steps.take_logs()


@pytest.mark.parametrize("entry", ZOO)
def test_both_workers_hold_the_same_weights_and_report_the_same_means(
    entry: str, pair: Pair, fitting: Callable[[str], Dataset]
) -> None:
    dataset = fitting(entry)
    (first, logs), (second, other_logs) = pair.run(ten_steps, entry, dataset)
    assert logs == other_logs
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    _, alone = ten_steps(ALONE, entry, dataset)
    assert logs == pytest.approx(alone, rel=1e-3, abs=1e-6)  # ten Adam steps amplify round-off


def test_the_codebook_of_two_workers_is_the_law_s(pair: Pair, digits: Dataset) -> None:
    """Started, averaged and revived alike, over thirty steps: with a rate of 0 only the codebook moves."""
    alone = codebook(ALONE, digits)
    for together in pair.run(codebook, digits):
        torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)


def codebook(workers: Workers, dataset: Dataset) -> Tensor:
    config = override(
        tiny(ZOO["vqvae"]),
        {
            "train.precision": "float64",
            "model.optimizer.rate": 0.0,
            "model.codebook.decay": 0.5,
            "model.codebook.revival": 0.5,
        },
    )
    steps = stepper(build_model(config, dataset, CPU), dataset, workers, 2)
    revived = 0.0
    for _ in range(30):
        steps.advance()
        revived += float(steps.model.get_buffer("codebook.revived"))
    assert revived > 0  # otherwise revival was not compared
    return steps.model.get_buffer("codebook.vectors").clone()


def test_noise_depends_on_neither_evaluation_nor_order(digits: Dataset) -> None:
    first, second = (stepper(built("vae_mlp", digits), digits, ALONE, 1) for _ in range(2))
    for _ in range(3):
        first.advance()
    for _ in range(3):
        second.advance()
        torch.randn(7)
        with second.evaluating() as model:
            model.imitate(second.stream.rows(0, 0, 5))  # type: ignore[attr-defined]
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
