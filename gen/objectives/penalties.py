"""Penalties on the critic's gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gen.checks import at_least
from gen.objectives.precision import upcast


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, norm: float = 1.0) -> Tensor:
    """Mean over the batch of (|gradient of the critic| - norm)^2 at random points between `real` and `fake`
    (B, C, H, W): Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, eq. 3. torch's generator draws the points."""
    with torch.autocast(real.device.type, enabled=False):
        real, fake = upcast(real), upcast(fake)
        share = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)  # epsilon of algorithm 1
        between = (share * real + (1 - share) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)  # (B, C, H, W)
        slopes: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)  # (B,)
        return (slopes - norm).square().mean()


@dataclass(frozen=True)
class Penalty(ABC):
    """What a critic pays beside its loss."""

    kinds: ClassVar[Mapping[str, type[Penalty]]]

    @abstractmethod
    def of(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> tuple[float, Tensor] | None:
        """Its weight, and what it weighs, a scalar, from images (B, C, H, W) of both kinds; None if it has none."""


@dataclass(frozen=True)
class NoPenalty(Penalty):
    """Nothing."""

    def of(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> None:
        return None


@dataclass(frozen=True)
class OneCentred(Penalty):
    """Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, eq. 3: the gradient's norm between real images and fakes
    is to be one."""

    weight: float = 10.0  # lambda (10)

    def __post_init__(self) -> None:
        at_least("weight", self.weight, 0)

    def of(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> tuple[float, Tensor]:
        return self.weight, gradient_penalty(critic, real, fake)


Penalty.kinds = {"none": NoPenalty, "one_centred": OneCentred}
