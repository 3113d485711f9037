"""What a critic and a generator minimise: functions of the critic's outputs (B, 1) that give a scalar."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from gen.objectives.precision import upcast


@dataclass(frozen=True)
class Objective(ABC):
    """A game between a critic and a generator."""

    kinds: ClassVar[Mapping[str, type[Objective]]]
    shift_free: ClassVar[bool] = False  # whether the critic's loss ignores a constant added to all of its outputs

    @abstractmethod
    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss, from its outputs for real images and for fakes."""

    @abstractmethod
    def generator(self, fake: Tensor) -> Tensor:
        """The generator's loss, from the critic's outputs for its fakes."""


@dataclass(frozen=True)
class NonSaturating(Objective):
    """Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661: eq. 1 for the critic, and for the generator -log D."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-upcast(real)).mean() + F.softplus(upcast(fake)).mean()  # -log D(x) - log(1 - D(G(z)))

    def generator(self, fake: Tensor) -> Tensor:
        return F.softplus(-upcast(fake)).mean()  # -log D(G(z)), section 3


@dataclass(frozen=True)
class LeastSquares(Objective):
    """Mao et al. 2016, https://arxiv.org/abs/1611.04076, eq. 2: the codings 0/1/1 (eq. 9) and -1/1/0 (eq. 8)."""

    a: float = 0.0  # what the critic is to say of fakes
    b: float = 1.0  # what the critic is to say of real images
    c: float = 1.0  # what the generator wants the critic to say of fakes

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return (upcast(real) - self.b).square().mean() / 2 + (upcast(fake) - self.a).square().mean() / 2

    def generator(self, fake: Tensor) -> Tensor:
        return (upcast(fake) - self.c).square().mean() / 2


@dataclass(frozen=True)
class Wasserstein(Objective):
    """Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875, eq. 3: the critic must be kept Lipschitz."""

    shift_free = True

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return upcast(fake).mean() - upcast(real).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return -upcast(fake).mean()


Objective.kinds = {"non_saturating": NonSaturating, "least_squares": LeastSquares, "wasserstein": Wasserstein}
