"""What keeps a critic smooth: penalties on its gradient, and a bound on its weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gen.checks import at_least
from gen.objectives.precision import upcast

Critic = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) to outputs (B, 1)."""


def gradients(critic: Critic, images: Tensor) -> Tensor:
    """The critic's gradient (B, C * H * W) at `images` (B, C, H, W), in float32 at least, to be differentiated."""
    with torch.autocast(images.device.type, enabled=False), torch.enable_grad():
        points = upcast(images).detach().requires_grad_()
        gradient: Tensor = torch.autograd.grad(critic(points).sum(), points, create_graph=True)[0]
        return gradient.flatten(1)


def slopes(critic: Critic, images: Tensor) -> Tensor:
    """The gradient's norm (B,). Where it is zero, torch takes its derivative for zero too."""
    norms: Tensor = torch.linalg.vector_norm(gradients(critic, images), dim=1)
    return norms


def between(first: Tensor, second: Tensor) -> Tensor:
    """A random point on the line between each two images (B, C, H, W)."""
    first, second = upcast(first), upcast(second)
    share = torch.rand(len(first), 1, 1, 1, device=first.device, dtype=first.dtype)
    return share * first + (1 - share) * second


@dataclass(frozen=True)
class Penalty(ABC):
    """What is added to a critic's loss, or done to its weights."""

    kinds: ClassVar[Mapping[str, type[Penalty]]]
    adds: ClassVar[bool] = False  # whether it adds to the critic's loss
    projects: ClassVar[bool] = False  # whether it moves the critic's weights

    @abstractmethod
    def of(self, critic: Critic, real: Tensor, fake: Tensor) -> tuple[float, Tensor] | None:
        """The weight, and the penalty before it is weighted, a scalar, for images (B, C, H, W); None for no penalty."""

    def project(self, weights: Iterable[Tensor]) -> None:
        """Moves the critic's weights, after a step, to where they may be: here, they may be anywhere."""
        return


@dataclass(frozen=True)
class NoPenalty(Penalty):
    """No penalty."""

    def of(self, critic: Critic, real: Tensor, fake: Tensor) -> None:
        return None


@dataclass(frozen=True)
class Weighted(Penalty):
    """A penalty on the critic's gradient at some images."""

    adds = True
    weight: float = 10.0  # lambda (10)

    def __post_init__(self) -> None:
        at_least("weight", self.weight, 0)

    def of(self, critic: Critic, real: Tensor, fake: Tensor) -> tuple[float, Tensor]:
        return self.weight, self.penalty(critic, real, fake)

    @abstractmethod
    def penalty(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty before it is weighted."""


@dataclass(frozen=True)
class OneCentred(Weighted):
    """Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, eq. 3: the gradient's norm between real images and fakes
    is to be one."""

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        return (slopes(critic, between(real, fake)) - 1).square().mean()


@dataclass(frozen=True)
class ZeroCentred(Weighted):
    """Thanh-Tung et al. 2019, https://arxiv.org/abs/1902.03984, eq. 8: the gradient between real images and fakes is to
    be zero."""

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        return gradients(critic, between(real, fake)).square().sum(1).mean()


@dataclass(frozen=True)
class Dragan(Weighted):
    """Kodali et al. 2017, https://arxiv.org/abs/1705.07215, section 2.3: the gradient's norm near real images is to be
    one. Near is as in the authors' code: on the line to the image that has half the batch's standard deviation times
    uniform noise added."""

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        real = upcast(real)
        perturbed = real + 0.5 * real.std() * torch.rand_like(real)
        return (slopes(critic, between(perturbed, real)) - 1).square().mean()


@dataclass(frozen=True)
class R1(Weighted):
    """Mescheder et al. 2018, https://arxiv.org/abs/1801.04406, eq. 9: half the squared gradient at real images."""

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        return gradients(critic, real).square().sum(1).mean() / 2


@dataclass(frozen=True)
class Clipping(Penalty):
    """Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875, algorithm 1: no penalty, but a bound on each weight."""

    projects = True
    limit: float = 0.01  # c, largest magnitude of a weight (0.01)

    def __post_init__(self) -> None:
        at_least("limit", self.limit, 1e-6)

    def of(self, critic: Critic, real: Tensor, fake: Tensor) -> None:
        return None

    def project(self, weights: Iterable[Tensor]) -> None:
        for weight in weights:
            weight.clamp_(-self.limit, self.limit)


Penalty.kinds = {
    "none": NoPenalty,
    "one_centred": OneCentred,
    "zero_centred": ZeroCentred,
    "dragan": Dragan,
    "r1": R1,
    "clipping": Clipping,
}
