"""Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, Zhu et al. 2017,
https://arxiv.org/abs/1703.10593.

Deviations from the paper:
1. The generators' fakes are computed twice in a step: once without gradient for the critics, and once for the
   generators' own move. They are the same fakes; a step takes an eighth more time.
2. All fakes of a step meet the pool as the step found it: none is exchanged for another one of its step, and no two for
   the same earlier one while there are places for all (`gen.nets.pool`). At one image a step, as in the paper, the law
   is the paper's.
3. The critics' loss is halved, as in section 7.1, with least squares alone, since that objective has the halves. Adam
   takes no notice of a loss's scale.
4. The U-Net is that of the authors' code, as a setting; the paper has none.
5. On held-out images the critics see the fakes of these images, none of the pool.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from gen.capabilities import Plays, Reconstructs, Translates
from gen.checks import at_least, one_of
from gen.nets.normed import idle_biases
from gen.nets.pool import Pool
from gen.nets.translation import PatchCritic, Residuals, Translator
from gen.objectives.adversarial import LeastSquares, Objective
from gen.objectives.precision import upcast
from gen.optimizers import Adam, Optimizer
from gen.phase import Batch, Logs, Model, Phase, Shape

CANCELS = "instance norm subtracts it"


class CycleGAN(Model, Translates, Reconstructs, Plays):
    """A generator into each of two domains and a critic of each; an image that goes to the other domain and back is to
    be itself again. What comes back is the image's reconstruction."""

    needs, sources = frozenset({"a", "b"}), {"a": "b", "b": "a"}

    @dataclass(frozen=True)
    class Config:
        """Networks, weights of the generators' losses, and the pool."""

        generator: Translator = field(default_factory=Residuals)
        critic: PatchCritic = field(default_factory=PatchCritic)
        objective: Objective = field(default_factory=LeastSquares)  # what the players minimise
        game: float = 2.0  # weight of the objective for generators (2 halves of a square; cross-entropy: 1; without: 0)
        cycle: float = 10.0  # weight of the cycle's error: lambda (10; without the cycle: 0)
        cycled: Literal["both", "a", "b"] = "both"  # columns whose images are to come back (ablations: one of them)
        identity: float = 0.5  # error of the identity, as a share of the cycle's weight (0.5; without: 0)
        pool: int = 50  # earlier fakes of each column (50; without: 0)
        generator_optimizer: Optimizer = field(default_factory=lambda: Adam(rate=2e-4, beta1=0.5))
        critic_optimizer: Optimizer = field(default_factory=lambda: Adam(rate=2e-4, beta1=0.5))

        def __post_init__(self) -> None:
            for name in ("game", "cycle", "identity", "pool"):
                at_least(name, getattr(self, name), 0)
            one_of("cycled", self.cycled, ("both", "a", "b"))
            if not self.game and not self.cycle:
                raise ValueError("game=0 and cycle=0 leave the generators no loss; allowed: one of them above 0")

        def build(self, shape: Shape) -> CycleGAN:
            return CycleGAN(self, shape)

    def __init__(self, config: CycleGAN.Config, shape: Shape) -> None:
        super().__init__()
        self.config, self.multiple = config, config.generator.multiple(shape)
        self.generators = nn.ModuleDict({column: config.generator.build(shape) for column in self.sources})  # into it
        self.critics = nn.ModuleDict({column: config.critic.build(shape) for column in self.sources})
        self.pools = nn.ModuleDict({column: Pool(config.pool, shape) for column in self.sources})
        self.unmoved = dict.fromkeys(idle_biases(self), CANCELS)
        if config.objective.idle_bias:
            biases = [name for name, _ in self.critics.named_parameters(prefix="critics") if name.endswith("bias")]
            ends = {name.split(".")[1]: name for name in biases}  # the last bias of each critic
            self.unmoved |= dict.fromkeys(ends.values(), config.objective.idle_bias)

    def phases(self) -> Sequence[Phase]:
        config, critics = self.config, nn.ModuleList([self.critics, self.pools])
        sums = [one for column in self.sources for one in self.pool(column).sums]
        critics_phase = (critics, self.critics_loss, config.critic_optimizer)
        return [
            Phase("generators", self.generators, self.generators_loss, config.generator_optimizer),
            Phase("critics", *critics_phase, sums=sums, project=self.project),
        ]

    def pool(self, column: str) -> Pool:
        """The earlier fakes of a column."""
        pool = self.pools[column]
        assert isinstance(pool, Pool)
        return pool

    def project(self) -> None:
        """The step's fakes go into the pools."""
        for column in self.sources:
            self.pool(column).project()

    def prepare(self, batch: Batch) -> Batch:
        return {**batch, **{f"fake_{column}": fake for column, fake in self.imitate(batch).items()}}

    def generators_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        config, logs = self.config, Logs()
        fakes = self.imitate(batch)
        columns = self.sources if config.cycled == "both" else (config.cycled,)
        loss = fakes["a"].new_zeros(())
        if config.game:
            for column, fake in fakes.items():
                logs[f"game_{column}"] = config.objective.generator(self.critics[column](fake))  # eq. 1
                loss = loss + config.game * logs[f"game_{column}"]
        if config.cycle:
            for column in columns:
                back = self.generators[column](fakes[self.sources[column]])
                logs[f"cycle_{column}"] = distance(back, batch[column])  # eq. 2
                loss = loss + config.cycle * logs[f"cycle_{column}"]  # eq. 3
        if config.cycle * config.identity:
            for column, generator in self.generators.items():
                logs[f"identity_{column}"] = distance(generator(batch[column]), batch[column])  # section 5.2
                loss = loss + config.cycle * config.identity * logs[f"identity_{column}"]
        return loss, logs

    def critics_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        objective, logs = self.config.objective, Logs()
        for column, critic in self.critics.items():
            fake = self.pool(column).exchange(batch[f"fake_{column}"], self.micro_batch)
            of_real, of_fake = critic(batch[column]), critic(fake)  # (B, 1, H', W')
            logs[f"game_{column}"] = objective.critic(of_real, of_fake)  # eq. 1
            logs[f"accuracy_{column}"] = objective.accuracy(of_real, of_fake)
        return logs["game_a"] + logs["game_b"], logs

    @property
    def scales(self) -> Mapping[str, tuple[float, float]]:
        objective = self.config.objective
        if objective.least == -math.inf:
            return {}
        return {f"critics/game_{column}": (objective.least, objective.undecided()) for column in self.sources}

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return {column: self.generators[column](batch[source]) for column, source in self.sources.items()}

    def translate(self, images: Tensor, column: str) -> Tensor:
        made: Tensor = self.generators[column](images)
        return made

    @property
    def reconstructed(self) -> tuple[str, ...]:
        return tuple(self.sources)

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        fakes = self.imitate(batch)
        return {column: self.generators[column](fakes[source]) for column, source in self.sources.items()}


def distance(made: Tensor, image: Tensor) -> Tensor:
    """The mean absolute difference of images (B, C, H, W), a scalar."""
    return (upcast(made) - image).abs().mean()
