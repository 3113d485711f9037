"""Penalties on the critic's gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

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
