"""What the engine does beside the gradient, against closed forms."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from gen.config import TrainConfig
from gen.data.dataset import Dataset
from gen.data.stream import Stream
from gen.distributed.machine import seed
from gen.distributed.workers import ALONE
from gen.engine.average import Average
from gen.engine.step import Stepper
from gen.engine.watch import Diverged
from gen.optimizers import Adam, Optimizer, RMSprop
from gen.phase import Batch, Logs, MicroBatch, Model, Phase
from gen.zoo import ZOO
from tests.engine.test_law import CPU, built, normed


class Slope(Model):
    """One number under a constant gradient: every optimiser's step has a closed form."""

    def __init__(self, optimizer: Optimizer, gradient: float = 1.0, bad_from: int = 10**9, repeats: int = 1) -> None:
        super().__init__()
        self.weight, self.spare = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.optimizer, self.gradient, self.bad_from, self.repeats = optimizer, gradient, bad_from, repeats
        self.calls, self.seen = 0, list[Tensor]()

    def phases(self) -> list[Phase]:
        return [
            Phase("first", nn.ParameterList([self.weight]), self.loss, self.optimizer, self.repeats),
            Phase("second", nn.ParameterList([self.spare]), self.other, self.optimizer),
        ]

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        self.seen.append(batch["image"])
        self.calls += 1
        loss = self.gradient * self.weight.sum()
        return loss, {"odd": loss / 0 if self.calls > self.bad_from else loss, "call": torch.tensor(float(self.calls))}

    def other(self, batch: Batch) -> tuple[Tensor, Logs]:
        self.seen.append(batch["image"])
        return self.spare.sum(), {}


def stepped(model: Model, dataset: Dataset, **settings: object) -> Stepper:
    config = replace(TrainConfig(batch=4, micro_batches=1), **settings)  # type: ignore[arg-type]
    stream = Stream(dataset.splits["train"], 0, 4, CPU, torch.float32)
    return Stepper(model, config, 0, stream, CPU, ALONE)


def test_a_step_is_adam_s(digits: Dataset) -> None:
    steps = stepped(model := Slope(Adam(rate=0.01)), digits)
    for _ in range(5):
        steps.advance()
    assert model.weight.item() == pytest.approx(-0.05, rel=1e-5)  # a constant gradient moves Adam by its rate


def test_the_gradient_is_clipped_and_its_norm_logged_before(digits: Dataset) -> None:
    steps = stepped(model := Slope(RMSprop(rate=1.0, smoothing=0.0), gradient=30.0), digits, clip=3.0)
    steps.advance()
    assert steps.take_logs()["first/gradient_norm"] == pytest.approx(30.0)
    assert model.weight.grad.item() == pytest.approx(3.0, rel=1e-4)


def test_micro_batches_are_averaged_not_summed(digits: Dataset) -> None:
    """The law compares two sides that would both be wrong alike; this one has a closed form."""
    steps = stepped(Slope(Adam(), gradient=30.0), digits, micro_batches=3)
    steps.advance()
    assert steps.take_logs()["first/gradient_norm"] == pytest.approx(30.0)


def test_logs_are_means_since_the_last_tick(digits: Dataset) -> None:
    steps = stepped(Slope(Adam()), digits)
    for _ in range(3):
        steps.advance()
    assert steps.take_logs()["first/call"] == pytest.approx(2.0)
    for _ in range(2):
        steps.advance()
    assert steps.take_logs()["first/call"] == pytest.approx(4.5)


def test_the_first_bad_step_is_named(digits: Dataset) -> None:
    steps = stepped(Slope(Adam(), bad_from=3), digits)
    for _ in range(3):
        steps.advance()
    steps.take_logs()
    for _ in range(5):
        steps.advance()
    with pytest.raises(Diverged, match=r"^first/odd is not finite at step 3$"):
        steps.take_logs()


def test_repeats_draw_afresh_and_the_next_phase_starts_from_the_first_draw(digits: Dataset) -> None:
    steps = stepped(model := Slope(Adam(), repeats=3), digits)
    steps.advance()
    first, second, third, after = model.seen
    assert torch.equal(first, after)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    assert steps.images == 12
    model.seen.clear()
    steps.advance()
    assert torch.equal(model.seen[0], steps.stream.rows(3, 0, 4)["image"])  # no row is skipped


class Notes(Model):
    """It notes what it knows of its micro-batch; its BatchNorm makes averaged weights need statistics of their own."""

    noted: ClassVar[list[tuple[str, MicroBatch | None]]] = []  # of its copies too

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def phases(self) -> list[Phase]:
        return [Phase("only", self, self.loss, Adam())]

    def prepare(self, batch: Batch) -> Batch:
        self.noted.append(("prepare", self.micro_batch))
        return batch

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        self.noted.append(("loss", self.micro_batch))
        return self.norm(batch["image"]).square().mean(), {}


def test_a_model_knows_its_micro_batch_while_it_trains_and_at_no_other_time(digits: Dataset) -> None:
    steps, noted = stepped(model := Notes(), digits, micro_batches=2, ema=0.5, ema_batches=3), Notes.noted
    noted.clear()
    for _ in range(2):
        steps.advance()
        prepared = [("prepare", None), ("prepare", None)]
        assert noted == [*prepared, ("loss", MicroBatch(0, 2)), ("loss", MicroBatch(1, 2))]
        assert model.micro_batch is None
        noted.clear()
        with steps.evaluating():
            assert noted == [("prepare", None), ("loss", None)] * 3
        noted.clear()


@pytest.mark.parametrize(
    ("optimizer", "epochs", "expected"),
    [
        (Adam(rate=2.0), (0.0, 9.0), (2.0, 2.0)),
        (Adam(rate=2.0, decay="linear", decay_start=1, decay_end=3), (0.5, 2.0, 9.0), (2.0, 1.0, 0.0)),
        (Adam(rate=2.0, decay="cosine", decay_end=2, decay_factor=0.5), (0.0, 1.0, 2.0), (2.0, 1.5, 1.0)),
        (Adam(rate=2.0, decay="exponential", decay_end=2, decay_factor=0.25), (0.0, 1.0, 2.0), (2.0, 1.0, 0.5)),
    ],
)
def test_learning_rate_decay(optimizer: Optimizer, epochs: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert [optimizer.rate_at(epoch) for epoch in epochs] == pytest.approx(expected)


def test_the_decayed_rate_reaches_the_optimiser(digits: Dataset) -> None:
    decayed = Adam(rate=0.1, decay="linear", decay_end=8 / 1293)  # of images: two steps of four
    steps = stepped(model := Slope(decayed), digits)
    decayed_end = 8 / steps.stream.length
    assert decayed.decay_end == pytest.approx(decayed_end, rel=0.05)
    for _ in range(4):
        steps.advance()
    assert model.weight.item() == pytest.approx(-0.15, rel=0.05)  # 0.1, 0.05, then nothing


def test_ema_is_the_closed_form(digits: Dataset) -> None:
    model = Slope(Adam(rate=0.01))
    average = Average(model, 0.9)
    expected = 0.0
    for step in range(1, 40):
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.follow(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.weights[0].item() == pytest.approx(expected, rel=1e-5)


def test_averaged_weights_get_batchnorm_statistics_of_their_own(digits: Dataset) -> None:
    model = normed(digits).float()
    stream = Stream(digits.splits["train"], 0, 16, CPU, torch.float32)
    steps = Stepper(model, TrainConfig(batch=16, micro_batches=1, ema=0.5, ema_batches=8), 0, stream, CPU, ALONE)
    for _ in range(20):
        steps.advance()
    kept = copy.deepcopy(model.state_dict())
    with steps.evaluating() as shown:
        assert shown is not model
        assert not shown.training
        averages = []
        for draw in range(8):  # an independent computation of the generator's statistics
            batch = stream.rows(draw, 0, 16)
            seed(CPU, 0, 0, 0, draw, 0)
            latent = torch.randn(16, 4)
            averages.append(shown.generator[0](latent).mean(0))
            del batch
        torch.testing.assert_close(shown.generator[1].running_mean, torch.stack(averages).mean(0), atol=1e-4, rtol=1e-3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[name]), name


def is_cast(model: Model) -> bool:
    """Whether a model has layers that autocast computes in bf16."""
    return any(isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)) for part in model.modules())


@pytest.mark.parametrize("entry", ZOO)
def test_bf16_trains_close_to_float32(entry: str, fitting: Callable[[str], Dataset]) -> None:
    dataset, losses = fitting(entry), {}
    for precision in ("float32", "bf16"):
        model = built(entry, dataset).float()
        stream = Stream(dataset.splits["train"], 0, 16, CPU, torch.float32)
        config = TrainConfig(batch=16, micro_batches=1, precision=precision)  # type: ignore[arg-type]
        steps = Stepper(model, config, 0, stream, CPU, ALONE)
        for _ in range(10):
            steps.advance()
        losses[precision] = steps.take_logs()
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    for name, value in losses["float32"].items():
        if name.endswith("/loss"):
            assert losses["bf16"][name] == pytest.approx(value, rel=0.05, abs=0.05), name
            assert losses["bf16"][name] != value or not is_cast(model), "nothing was cast"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("entry", ZOO)
def test_a_step_never_waits_for_the_device(entry: str, fitting: Callable[[str], Dataset]) -> None:
    device, dataset = torch.device("cuda"), fitting(entry)
    config = TrainConfig(batch=8, micro_batches=1, clip=1.0, ema=0.9)
    stream = Stream(dataset.splits["train"], 0, 8, device, torch.float32)
    steps = Stepper(built(entry, dataset).float().to(device), config, 0, stream, device, ALONE)
    for _ in range(3):
        steps.advance()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            steps.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")
