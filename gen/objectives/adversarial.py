"""What a critic and a generator minimise: functions of the critic's outputs (B, 1) that give a scalar."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.checks import at_least
from gen.objectives.precision import upcast


@dataclass(frozen=True)
class Objective(ABC):
    """A game between a critic and a generator."""

    kinds: ClassVar[Mapping[str, type[Objective]]]
    shift_free: ClassVar[bool] = False  # whether the critic's loss ignores a constant added to all of its outputs
    idle_bias: ClassVar[str] = ""  # why the critic's last bias has no gradient; "": it has one

    @property
    def least(self) -> float:
        """The least value of the critic's loss; -inf if it has none."""
        return 0.0

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss, from its outputs for real images and for fakes."""
        return self.on_real(real) + self.on_fake(fake)

    @abstractmethod
    def on_real(self, real: Tensor) -> Tensor:
        """The part of the critic's loss that real images make."""

    @abstractmethod
    def on_fake(self, fake: Tensor) -> Tensor:
        """The part of the critic's loss that fakes make. A game with several kinds of fakes adds several."""

    @abstractmethod
    def generator(self, fake: Tensor) -> Tensor:
        """The generator's loss, from the critic's outputs for its fakes."""

    def boundary(self, real: Tensor, fake: Tensor) -> Tensor | float:
        """The output above which the critic takes an image for a real one."""
        return 0.0

    def undecided(self) -> float:
        """The loss of a critic that takes every image for a real one and for a fake alike."""
        output = torch.zeros(1, 1)
        output += self.boundary(output, output)
        return self.critic(output, output).item()

    def accuracy(self, real: Tensor, fake: Tensor) -> Tensor:
        """The share of images (B, 1) of both kinds that the critic takes for what they are, a scalar."""
        boundary = self.boundary(real, fake)
        return ((real > boundary).float().mean() + (fake <= boundary).float().mean()) / 2


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, eq. 1, for the critic."""

    smoothing: float = 0.0  # the critic is to hold real images for real by 1 - smoothing (Salimans et al. 2016: 0.1)

    def __post_init__(self) -> None:
        at_least("smoothing", self.smoothing, 0, 0.5)

    @property
    def least(self) -> float:
        share = self.smoothing
        return -share * math.log(share) - (1 - share) * math.log(1 - share) if share else 0.0

    def on_real(self, real: Tensor) -> Tensor:
        loss = F.softplus(-upcast(real)).mean()  # -log D(x)
        return loss + self.smoothing * upcast(real).mean() if self.smoothing else loss

    def on_fake(self, fake: Tensor) -> Tensor:
        return F.softplus(upcast(fake)).mean()  # -log(1 - D(G(z)))


@dataclass(frozen=True)
class NonSaturating(CrossEntropy):
    """Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661: eq. 1 for the critic, and for the generator -log D."""

    def generator(self, fake: Tensor) -> Tensor:
        return F.softplus(-upcast(fake)).mean()  # -log D(G(z)), section 3


@dataclass(frozen=True)
class Saturating(CrossEntropy):
    """Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661: eq. 1 for both players."""

    def generator(self, fake: Tensor) -> Tensor:
        return -F.softplus(upcast(fake)).mean()  # log(1 - D(G(z)))


@dataclass(frozen=True)
class LeastSquares(Objective):
    """Mao et al. 2016, https://arxiv.org/abs/1611.04076, eq. 2: the codings 0/1/1 (eq. 9) and -1/1/0 (eq. 8)."""

    a: float = 0.0  # what the critic is to say of fakes
    b: float = 1.0  # what the critic is to say of real images
    c: float = 1.0  # what the generator wants the critic to say of fakes

    def boundary(self, real: Tensor, fake: Tensor) -> float:
        return (self.a + self.b) / 2

    def on_real(self, real: Tensor) -> Tensor:
        return (upcast(real) - self.b).square().mean() / 2

    def on_fake(self, fake: Tensor) -> Tensor:
        return (upcast(fake) - self.a).square().mean() / 2

    def generator(self, fake: Tensor) -> Tensor:
        return (upcast(fake) - self.c).square().mean() / 2


@dataclass(frozen=True)
class Wasserstein(Objective):
    """Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875, eq. 3: the critic must be kept Lipschitz."""

    shift_free = True
    idle_bias = "it cancels between real images and fakes, and no gradient penalty sees it"

    @property
    def least(self) -> float:
        return -math.inf

    def boundary(self, real: Tensor, fake: Tensor) -> Tensor:
        return (real.mean() + fake.mean()) / 2  # an output means nothing but beside others

    def on_real(self, real: Tensor) -> Tensor:
        return -upcast(real).mean()

    def on_fake(self, fake: Tensor) -> Tensor:
        return upcast(fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return -upcast(fake).mean()


@dataclass(frozen=True)
class Hinge(Objective):
    """Lim and Ye 2017, https://arxiv.org/abs/1705.02894; Miyato et al. 2018, https://arxiv.org/abs/1802.05957, eq. 16
    and 17."""

    idle_bias = "it cancels between real images and fakes while all outputs lie within the margins, as at first"

    def on_real(self, real: Tensor) -> Tensor:
        return F.relu(1 - upcast(real)).mean()

    def on_fake(self, fake: Tensor) -> Tensor:
        return F.relu(1 + upcast(fake)).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return -upcast(fake).mean()


Objective.kinds = {
    "non_saturating": NonSaturating,
    "saturating": Saturating,
    "least_squares": LeastSquares,
    "wasserstein": Wasserstein,
    "hinge": Hinge,
}
