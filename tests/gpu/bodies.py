"""What is tested of a device, as functions of it: tests/gpu/test_on_device.py gives them a GPU, and
tests/gpu/test_same_on_cpu.py the CPU, so that they do not rot where there is none.

A GPU's generator gives other numbers than the CPU's from the same seed. So what is compared between the two draws all
noise from the CPU's generator, on both sides (`SameNoise`), and convolves in whole float32 (`whole`); what then differs
is round-off and the order of sums. Where a GPU draws its own noise, only that runs with one seed agree is claimed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gen.capabilities import Imitates, Reconstructs, has
from gen.config import AugmentConfig, RunConfig, TwoStageConfig, identity, on_stage, override
from gen.data.dataset import Dataset
from gen.data.stream import Stream, to_uint8
from gen.engine.build import build_model
from gen.engine.fit import Tick, fit
from gen.engine.stage_one import Staged
from gen.engine.step import Stepper
from gen.judge import Judge
from gen.judge.features import MODES
from gen.judge.networks import classifier
from gen.optimizers import Adam
from gen.phase import Batch, Logs, Model, Phase, Shape
from gen.record import checkpoint
from gen.results.storage import Storage
from tests.fixtures import tables
from tests.seams.house import ALL, CPU, EXPERIMENT, data_of, exact, home, judge_of, small, stepper

FRESH = (
    torch.rand,
    torch.randn,
    torch.randint,
    torch.randperm,
    torch.rand_like,
    torch.randn_like,
    torch.multinomial,
    torch.bernoulli,
)
FILLS = (Tensor.uniform_, Tensor.normal_, Tensor.random_, Tensor.bernoulli_)
DRAWS: frozenset[Callable[..., Any]] = frozenset({*FRESH, *FILLS})
whole = functools.partial(torch.backends.cudnn.flags, enabled=True, deterministic=True, allow_tf32=False)


class SameNoise(TorchFunctionMode):
    """Draws from the CPU's generator, whatever the device of what is drawn."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given, named = list(args), dict(kwargs or {})
        if function not in DRAWS:
            return function(*given, **named)
        like = next((value for value in given if isinstance(value, Tensor)), torch.empty(0))
        device = named.pop("device", None) or like.device
        drawn = function(*(value.cpu() if isinstance(value, Tensor) else value for value in given), **named)
        return given[0].copy_(drawn) if function in FILLS else drawn.to(device)


def usual(entry: str, dataset: Dataset, **settings: Any) -> RunConfig:
    """The entry's config at its own width, on the first stage of its data if it has one."""
    config = ALL[entry]
    if isinstance(config.model, TwoStageConfig):
        assert isinstance(dataset, Staged)
        config = on_stage(config, dataset.stage_one)
    return override(config, settings)


def logs_of(config: RunConfig, dataset: Dataset, device: torch.device, steps: int) -> dict[str, float]:
    """Means of all logs over the first steps, with the CPU's noise."""
    with SameNoise(), whole():
        run = stepper(config, dataset, device=device)
        run.fit()
        for _ in range(steps):
            run.advance()
        return run.take_logs()


def losses_agree(entry: str, device: torch.device) -> None:
    """The first step's logs, gradient norms among them, to 1e-6 in float64 and 1e-3 in float32; the losses of five
    steps to 1e-3 in float64: Adam amplifies round-off on a gradient that is zero."""
    dataset = data_of(entry)
    for precision, relative in (("float64", 1e-6), ("float32", 1e-3)):
        config = small(entry, **{"train.precision": precision})
        here, there = (logs_of(config, dataset, where, 1) for where in (CPU, device))
        assert there == pytest.approx(here, rel=relative, abs=relative / 10), precision
    here, there = (logs_of(exact(entry, 2), dataset, where, 5) for where in (CPU, device))
    assert of_losses(there) == pytest.approx(of_losses(here), rel=1e-3, abs=1e-5)


def of_losses(logs: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in logs.items() if name.endswith("/loss")}


def a_tick_agrees(config: RunConfig, entry: str, device: torch.device) -> None:
    """An epoch in float32: its mean losses and what is cheaply measured, to 5 %; not how many units are active, a count
    that may fall to either side."""
    ticks = []
    for where in (CPU, device):
        with SameNoise(), whole():
            ticks.append(next(fit(config, data_of(entry), device=where, judge=judge_on(entry, where))))
    here, there = ticks
    assert of_losses(there.metrics) == pytest.approx(of_losses(here.metrics), rel=0.05, abs=0.01)
    assert there.evals.keys() == here.evals.keys()
    for name in here.evals.keys() - {"active_units/images"}:
        assert there.evals[name] == pytest.approx(here.evals[name], rel=0.05, abs=0.05), name


def own_noise_is_seeded(entry: str, device: torch.device) -> None:
    """With the device's own generator the logs of three steps are the same again, and others from another seed."""

    def losses(seed: int) -> dict[str, float]:
        with whole():
            run = stepper(small(entry, seed=seed), data_of(entry), device=device)
            run.fit()
            for _ in range(3):
                run.advance()
                torch.randn(3, device=device)  # others use the generator too
            return run.take_logs()

    first = losses(0)
    assert losses(0) == pytest.approx(first, rel=1e-3, abs=1e-5)
    assert not first or losses(1) != pytest.approx(first, rel=1e-3, abs=1e-5)


def judge_on(entry: str, device: torch.device) -> Judge:
    """The entry's judge on a device: the same network as on the CPU."""
    judge = judge_of(entry)
    if device.type == "cpu":
        return judge
    assert isinstance(judge.extractor, classifier.Classifier)
    extractor = classifier.from_bytes(classifier.to_bytes(judge.extractor), device)
    return Judge(judge.dataset, extractor, device, judge.batch, importance=judge.importance)


def figures_agree(entry: str, device: torch.device) -> None:
    """Of the same weights, trained a little: to 2 %; shares of so few images, to two of them. Without ssim, whose
    library is not everywhere."""
    run = stepper(small(entry), data_of(entry))
    run.fit()
    for _ in range(5):
        run.advance()
    figures = []
    for where in (CPU, device):
        model = small(entry).model.build(data_of(entry).shape)
        model.load_state_dict(run.model.state_dict())
        with SameNoise(), whole():
            judge, shown = judge_on(entry, where), model.to(where).eval()
            names = {figure.name for figure in judge.plan(shown, "validation", 40, "raw")} - {"ssim/reconstructions"}
            figures.append(judge.figures(shown, "validation", 40, "raw", only=names))
    for here, there in zip(*figures, strict=True):
        assert there.protocol == here.protocol
        shares = here.metric in ("precision", "recall", "density", "coverage", "accuracy", "used")
        about = {"abs": 2 / 40} if shares else {"rel": 0.02, "abs": 1e-3}
        if here.metric in MODES:  # a fake or two between two classes
            about = {"abs": {"modes": 2, "mode_share": 2 / tables.CLASSES}.get(here.metric, 0.2)}
        assert here.metric == "active_units" or there.value == pytest.approx(here.value, **about), here.name


def rows_agree(device: torch.device, resident: bool) -> None:
    """Rows of two tables, in order, out of order and in slices, whether they lie on the device or in pinned buffers."""
    parts = tables.unpaired(16, 3).splits["train"]
    here = Stream(parts, 3, 20, CPU, torch.float32)
    there = Stream(parts, 3, 20, device, torch.float32, resident)
    assert (there.courier is None) == (resident or device.type == "cpu")
    asked = [(draw, start, start + 10) for draw in (0, 1, 2, 3, 9, 2, 8) for start in (0, 10)]
    found = [there.rows(*key) for key in asked]  # all before any is looked at: buffers are used again
    for key, batch in zip(asked, found, strict=True):
        for name, column in here.rows(*key).items():
            assert batch[name].device.type == device.type
            assert torch.equal(to_uint8(batch[name]).cpu(), to_uint8(column))
            torch.testing.assert_close(batch[name].cpu(), column, rtol=0, atol=1e-6)


def windows_agree(device: torch.device, resident: bool) -> None:
    """Windows and mirror images of two tables lie where those of the CPU do, and the host waits for nothing."""
    parts, augment = tables.unpaired(16, 3).splits["train"], AugmentConfig(flip=True, margin=0.25)
    here = Stream(parts, 3, 20, CPU, torch.float32, augment=augment)
    there = Stream(parts, 3, 20, device, torch.float32, resident, augment)
    there.rows(0, 0, 20)  # the first call may initialise
    with forbid_waiting(device):
        found = [there.rows(draw, 4, 20) for draw in range(6)]
    for draw, batch in enumerate(found):
        for name, column in here.rows(draw, 4, 20).items():
            torch.testing.assert_close(batch[name].cpu(), column, rtol=0, atol=1e-6)


def statistics_over_workers(device: torch.device, place: Path) -> None:
    """SyncBatchNorm trains as BatchNorm does where there is one worker, in a process group on a GPU: it runs nowhere
    else. Frozen players use the batch and leave their running statistics alone."""
    plain = stepper(small("dcgan"), data_of("dcgan"), device=device)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(build_model(small("dcgan"), data_of("dcgan"), device))
    assert any(isinstance(part, nn.SyncBatchNorm) for part in model.modules())
    run = Stepper(model, plain.config, plain.seed, plain.stream, device, plain.workers)
    if device.type == "cuda":
        torch.distributed.init_process_group("nccl", init_method=f"file://{place}/group", rank=0, world_size=1)
    try:
        with whole():
            for _ in range(3):
                run.advance()
                plain.advance()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    assert run.take_logs() == pytest.approx(plain.take_logs(), rel=1e-4, abs=1e-6)
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)


def a_run_with_sync_batchnorm(device: torch.device, place: Path) -> None:
    """`train.sync_batchnorm` is a run's setting on a GPU, and refused elsewhere."""
    config = small("dcgan", **{"train.sync_batchnorm": True, "evaluate.full": "none"})
    run = fit(config, data_of("dcgan"), device=device, judge=judge_on("dcgan", device))
    if device.type != "cuda":
        with pytest.raises(ValueError, match=r"train.sync_batchnorm=True needs CUDA devices"):
            next(run)
        return
    torch.distributed.init_process_group("nccl", init_method=f"file://{place}/run", rank=0, world_size=1)
    try:
        assert [tick.ended for tick in run] == ["", "finished"]
    finally:
        torch.distributed.destroy_process_group()


def bf16_is_close(entry: str, device: torch.device) -> None:
    """Autocast's losses of three steps are near those of float32, and the parameters stay as they are."""
    losses = {}
    for precision in ("float32", "bf16"):
        with SameNoise(), whole():
            run = stepper(small(entry, **{"train.precision": precision}), data_of(entry), device=device)
            run.fit()
            for _ in range(3):
                run.advance()
            losses[precision] = of_losses(run.take_logs())
            assert all(parameter.dtype == torch.float32 for parameter in run.model.parameters())
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.05, abs=0.05)
    cast = any(isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)) for part in run.model.modules())
    assert not losses["bf16"] or losses["bf16"] != losses["float32"] or not cast, "nothing was cast"


def averages_agree(entry: str, device: torch.device) -> None:
    """What averaged weights make, with their own BatchNorm statistics, in float64; showing them moves nothing."""
    made = []
    for where in (CPU, device):
        with SameNoise(), whole():
            run = stepper(exact(entry, 2, **{"train.ema": 0.9, "train.ema_batches": 3}), data_of(entry), device=where)
            run.fit()
            for _ in range(5):
                run.advance()
            before = {name: value.clone() for name, value in run.model.state_dict().items()}
            with run.evaluating() as model, torch.no_grad():
                assert next(model.parameters()).device.type == where.type
                made.append(images_of(model, run.stream.rows(0, 0, 8)))
            assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    for name, images in made[0].items():
        torch.testing.assert_close(made[1][name].cpu(), images, rtol=1e-4, atol=1e-4, msg=name)


def images_of(model: Model, batch: Batch) -> dict[str, Tensor]:
    """What a model makes of a batch."""
    made = {f"fake {name}": images for name, images in (model.imitate(batch) if has(model, Imitates) else {}).items()}
    return made | (model.reconstruct(batch) if has(model, Reconstructs) else {})


def a_checkpoint_travels(entry: str, device: torch.device, place: Path) -> None:
    """A run begins on the device, goes on on the CPU and ends on the device, as one that stayed on the CPU."""
    config = small(entry, **{"budget.epochs": 3, "train.ema": 0.9, "evaluate.full": "none"})
    dataset, storage = data_of(entry), Storage(str(place))
    run = identity(config, dataset.hash)
    path = f"{checkpoint.folder(EXPERIMENT, run)}/last.pt"
    with SameNoise(), whole():
        stayed = list(fit(config, dataset, device=CPU, judge=judge_on(entry, CPU)))
        ticks = list[Tick]()
        for where in (device, CPU, device):
            ticks_there = fit(config, dataset, device=where, judge=judge_on(entry, where), home=home(place))
            ticks.append(next(ticks_there))
            ticks_there.close()
            here, there = (checkpoint.load(storage, path, on) for on in (CPU, device))
            assert here is not None
            assert there is not None
            for name, value in here["stepper"]["model"].items():
                assert value.device.type == "cpu"
                assert there["stepper"]["model"][name].device.type == device.type
                assert torch.equal(there["stepper"]["model"][name].cpu(), value), name
    assert [tick.tick for tick in ticks] == [1, 2, 3]
    assert ticks[-1].ended == "finished"
    for one, other in zip(ticks, stayed, strict=True):
        assert of_losses(one.metrics) == pytest.approx(of_losses(other.metrics), rel=0.05, abs=0.01)
    best = checkpoint.load_best(storage, EXPERIMENT, run, CPU)
    model = config.model.build(Shape(*best["shape"]))
    model.load_state_dict(best["weights"])
    assert all(value.device.type == "cpu" for value in model.state_dict().values())


@dataclass(frozen=True)
class Breaks:
    """A config whose model's loss is not finite after some calls."""

    calls: int = 5
    optimizer: Adam = field(default_factory=Adam)

    def build(self, shape: Shape) -> Model:
        return Breaking(self)


class Breaking(Model, Reconstructs):
    """Counts the calls of its loss on the device."""

    calls: Tensor

    def __init__(self, config: Breaks) -> None:
        super().__init__()
        self.config, self.weight = config, nn.Parameter(torch.ones(1))
        self.register_buffer("calls", torch.zeros(()))

    def phases(self) -> list[Phase]:
        return [Phase("only", self, self.loss, self.config.optimizer)]

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        self.calls += 1
        bad = torch.where(self.calls > self.config.calls, torch.nan, 0.0)
        return self.weight.square().sum() + bad, {"harmless": self.weight.sum()}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": batch["image"] * self.weight}


def what_is_not_finite_is_named(device: torch.device, place: Path) -> None:
    """By the tick, without a look at the device before it."""
    config = override(RunConfig("breaks", "test", Breaks()), {"train.batch": 16, "evaluate.full": "none"})
    judge = judge_on("denoiser", device)
    (last,) = fit(config, data_of("denoiser"), device=device, judge=judge, home=home(place))
    assert (last.ended, last.why) == ("failed", "only/loss is not finite at step 5")


def steps_do_not_wait(entry: str, device: torch.device) -> None:
    """No step makes the host wait for the device: PyTorch raises where one would."""
    settings = {"train.clip": 1.0, "train.ema": 0.9, "train.micro_batches": 2}
    run = stepper(small(entry, **settings), data_of(entry), device=device)
    run.fit()
    for _ in range(3):
        run.advance()
    with forbid_waiting(device):
        for _ in range(3):
            run.advance()


@contextmanager
def forbid_waiting(device: torch.device) -> Iterator[None]:
    """Inside, it is an error if the host waits for a GPU."""
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
