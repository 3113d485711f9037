"""The losses, passes and steps of CycleGAN."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gen.config import override
from gen.distributed.machine import seed
from gen.models.cyclegan import CycleGAN
from gen.phase import Batch, MicroBatch, Phase, Shape
from gen.zoo import ZOO, tiny
from tests.fixtures import tables
from tests.seams.house import CPU, stepper
from tune_spaces import draw, space_for

SIZE = 24


def build(**settings: Any) -> CycleGAN:
    torch.manual_seed(0)
    quick = {"model.generator.blocks": 1} if settings.get("model.generator", "residual") == "residual" else {}
    config = override(tiny(ZOO["cyclegan"]), {**settings, **quick})
    model = config.model.build(Shape(3, SIZE)).double()
    assert isinstance(model, CycleGAN)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, 0, 0.1)  # so that images and scores are not all alike
    return model.requires_grad_(False)


def batch_of(model: CycleGAN, count: int = 2) -> Batch:
    torch.manual_seed(1)
    images = {column: torch.rand(count, 3, SIZE, SIZE, dtype=torch.float64) * 2 - 1 for column in "ab"}
    return model.prepare(images)


def array(values: Tensor) -> NDArray[np.float64]:
    return values.numpy()


def absolute(made: Tensor, image: Tensor) -> float:
    return float(np.abs(array(made) - array(image)).mean())


def phase(model: CycleGAN, name: str) -> Phase:
    return next(one for one in model.phases() if one.name == name)


def softplus(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log1p(np.exp(values))


@pytest.mark.parametrize("objective", ["least_squares", "non_saturating"])
def test_the_losses_are_the_paper_s(objective: str) -> None:
    """Least squares: equations 1 to 3 with the squares of section 4, the critics' halved (7.1). Cross-entropy: eq. 1,
    the generators' non-saturating."""
    squares = objective == "least_squares"
    model = build(**{"model.objective": objective, "model.game": 2.0 if squares else 1.0})
    batch = batch_of(model)
    a, b = batch["a"], batch["b"]
    to_a, to_b = model.generators["a"], model.generators["b"]
    critic_a, critic_b = model.critics["a"], model.critics["b"]
    fake_a, fake_b = to_a(b), to_b(a)
    assert torch.equal(fake_a, batch["fake_a"])
    assert torch.equal(fake_b, batch["fake_b"])
    of_fakes = [array(critic_a(fake_a)), array(critic_b(fake_b))]
    of_reals = [array(critic_a(a)), array(critic_b(b))]
    cycle = absolute(to_a(fake_b), a) + absolute(to_b(fake_a), b)
    identity = absolute(to_a(a), a) + absolute(to_b(b), b)
    if squares:
        game = sum(np.square(scores - 1).mean() for scores in of_fakes)
        pairs = zip(of_reals, of_fakes, strict=True)
        critics = sum((np.square(real - 1).mean() + np.square(fake).mean()) / 2 for real, fake in pairs)
    else:
        game = sum(softplus(-scores).mean() for scores in of_fakes)
        pairs = zip(of_reals, of_fakes, strict=True)
        critics = sum(softplus(-real).mean() + softplus(fake).mean() for real, fake in pairs)
    loss, logs = phase(model, "generators").loss(batch)
    assert float(loss) == pytest.approx(game + 10 * cycle + 5 * identity, rel=1e-9)
    assert float(logs["cycle_a"] + logs["cycle_b"]) == pytest.approx(cycle, rel=1e-9)
    assert float(logs["identity_a"] + logs["identity_b"]) == pytest.approx(identity, rel=1e-9)
    loss, logs = phase(model, "critics").loss(batch)
    assert float(loss) == pytest.approx(critics, rel=1e-9)
    level = 0.5 if squares else 0.0
    for column, real, fake in zip("ab", of_reals, of_fakes, strict=True):
        right = ((real > level).mean() + (fake <= level).mean()) / 2
        assert float(logs[f"accuracy_{column}"]) == pytest.approx(right)


@pytest.mark.parametrize(
    ("settings", "of_generators", "of_critics"),
    [
        ({}, 6, 2),
        ({"model.identity": 0.0}, 4, 2),
        ({"model.cycle": 0.0}, 2, 2),
        ({"model.identity": 0.0, "model.cycled": "a"}, 3, 2),
        ({"model.identity": 0.0, "model.cycled": "b"}, 3, 2),
        ({"model.game": 0.0}, 6, 0),
        ({"model.generator": "unet"}, 6, 2),
    ],
)
def test_a_weight_of_zero_saves_its_passes(settings: dict[str, Any], of_generators: int, of_critics: int) -> None:
    model, passes = build(**settings), {"generators": 0, "critics": 0}
    batch = batch_of(model)

    def count(players: str) -> Any:
        def hook(*_: Any) -> None:
            passes[players] += 1

        return hook

    for players in passes:
        for network in getattr(model, players).values():
            network.register_forward_hook(count(players))
    _, logs = phase(model, "generators").loss(batch)
    assert passes == {"generators": of_generators, "critics": of_critics}
    assert len(logs) == of_generators - 2 + of_critics, "what is not computed is not logged"
    phase(model, "critics").loss(batch)
    assert passes == {"generators": of_generators, "critics": of_critics + 4}


def test_generators_without_any_loss_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"game=0 and cycle=0 leave the generators no loss; allowed: one of them above"
    ):
        override(ZOO["cyclegan"], {"model.game": 0.0, "model.cycle": 0.0})


def test_the_ablations_are_one_search_of_the_paper_s_losses() -> None:
    """Each once in so many runs, and all else as published."""
    space = space_for(ZOO["cyclegan"], "ablations")
    drawn = [override(ZOO["cyclegan"], draw(space, 0, index)) for index in range(2 * space.samples)]
    assert drawn[: space.samples] == drawn[space.samples :]
    assert drawn[0] == ZOO["cyclegan"]
    assert len({str(config) for config in drawn}) == space.samples
    weights = {(one.model.game, one.model.cycle, one.model.identity) for one in drawn}  # type: ignore[attr-defined]
    assert {(2, 10, 0.5), (2, 10, 0), (2, 0, 0), (0, 10, 0), (1, 10, 0.5)} == weights


def test_what_comes_back_is_the_reconstruction_of_its_column() -> None:
    model = build()
    batch = batch_of(model)
    made = model.reconstruct(batch)
    assert torch.equal(made["a"], model.generators["a"](batch["fake_b"]))
    assert torch.equal(made["b"], model.generators["b"](batch["fake_a"]))
    _, logs = phase(model, "generators").loss(batch)
    for column, images in made.items():
        assert float(logs[f"cycle_{column}"]) == pytest.approx(absolute(images, batch[column]))


@pytest.mark.parametrize("objective", ["least_squares", "non_saturating", "hinge", "wasserstein"])
def test_the_scales_are_of_a_critic_that_knows_nothing(objective: str) -> None:
    model = build(**{"model.objective": objective})
    if objective == "wasserstein":
        assert not model.scales
        return
    for column, critic in model.critics.items():
        for parameter in critic.parameters():
            parameter.zero_()
        *_, last = critic.parameters()
        last += 0.5 if objective == "least_squares" else 0.0
        _, logs = phase(model, "critics").loss(batch_of(model))
        least, undecided = model.scales[f"critics/game_{column}"]
        assert least == 0
        assert float(logs[f"game_{column}"]) == pytest.approx(undecided)


def test_held_out_losses_are_those_of_the_present_fakes() -> None:
    """Earlier fakes are translations of training images."""
    model = build(**{"model.pool": 2})
    critics = phase(model, "critics")
    batch = batch_of(model)
    model.micro_batch = MicroBatch(0, 1)
    for _ in range(3):
        critics.loss(batch)
        critics.project()
    model.micro_batch = None
    assert all(pool.filled == 2 for pool in model.pools.values())
    shown = model.held_out(batch)
    loss, _ = critics.loss(batch)
    assert torch.equal(shown["critics/held_out_loss"], loss)


class Plain:
    """The training loop as it is usually written: one image a step, the pools are lists, fakes are cut off by hand."""

    def __init__(self, model: CycleGAN) -> None:
        self.to_a, self.to_b = copy.deepcopy(model.generators["a"]), copy.deepcopy(model.generators["b"])
        self.critic_a, self.critic_b = copy.deepcopy(model.critics["a"]), copy.deepcopy(model.critics["b"])
        both = ([self.to_a, self.to_b], [self.critic_a, self.critic_b])
        self.of_generators, self.of_critics = (
            torch.optim.Adam([p for network in networks for p in network.parameters()], 2e-4, (0.5, 0.999))
            for networks in both
        )
        self.pools: dict[str, list[Tensor]] = {"a": [], "b": []}

    def step(self, a: Tensor, b: Tensor, choices: dict[str, tuple[bool, int]]) -> None:
        """`choices`: column -> whether an earlier fake is used, and which."""
        self.of_generators.zero_grad()
        fake_a, fake_b = self.to_a(b), self.to_b(a)
        loss = (self.critic_a(fake_a) - 1).square().mean() + (self.critic_b(fake_b) - 1).square().mean()
        loss = loss + 10 * ((self.to_a(fake_b) - a).abs().mean() + (self.to_b(fake_a) - b).abs().mean())
        loss = loss + 5 * ((self.to_a(a) - a).abs().mean() + (self.to_b(b) - b).abs().mean())
        loss.backward()
        self.of_generators.step()
        self.of_critics.zero_grad()
        for column, critic, real, fake in (("a", self.critic_a, a, fake_a), ("b", self.critic_b, b, fake_b)):
            shown = self.show(column, fake.detach(), *choices[column])
            ((critic(real) - 1).square().mean() / 2 + critic(shown).square().mean() / 2).backward()
        self.of_critics.step()

    def show(self, column: str, fake: Tensor, earlier: bool, place: int) -> Tensor:
        """What the critic sees."""
        pool = self.pools[column]
        if len(pool) < 3:
            pool.append(fake)
            return fake
        if not earlier:
            return fake
        old, pool[place] = pool[place], fake
        return old


@pytest.mark.slow
def test_twelve_steps_are_those_of_a_plain_loop() -> None:
    """At one image a step, with the same coins: weights and pools."""
    settings = {"train.precision": "float64", "train.batch": 1, "model.pool": 3, "model.generator.blocks": 1}
    run = stepper(override(tiny(ZOO["cyclegan"]), settings), tables.unpaired(SIZE, 3))
    model, exchanged = run.model, 0
    assert isinstance(model, CycleGAN)
    plain = Plain(model)
    for network in (plain.to_a, plain.to_b, plain.critic_a, plain.critic_b):
        network.requires_grad_(True)
    for number in range(12):
        batch = run.stream.rows(number, 0, 1)
        seed(CPU, run.seed, number, 2, 0, 0)  # as the engine seeds the only micro-batch of the second phase
        coins = {column: bool(torch.rand(1) < 0.5) for column in "ab"}
        choices = {column: (coin, int(model.pool(column).order[0])) for column, coin in coins.items()}
        exchanged += number >= 3 and any(coins.values())
        plain.step(batch["a"], batch["b"], choices)
        run.advance()
    assert exchanged > 3
    for column, critic, generator in (("a", plain.critic_a, plain.to_a), ("b", plain.critic_b, plain.to_b)):
        torch.testing.assert_close(model.pool(column).fakes, torch.cat(plain.pools[column]), rtol=1e-7, atol=1e-9)
        pairs = [(model.generators[column], generator), (model.critics[column], critic)]
        for ours, theirs in pairs:
            names = {f".{name}" for name in model.unmoved}  # a bias that instance norm cancels moves by round-off
            for name, value in theirs.named_parameters():
                if not any(idle.endswith(f"{column}.{name}") for idle in names):
                    torch.testing.assert_close(ours.get_parameter(name), value, rtol=1e-7, atol=1e-9, msg=name)
