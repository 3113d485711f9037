"""Whether the latents of a variational autoencoder have collapsed to the prior, over a whole split."""

from __future__ import annotations

import torch
from torch import Tensor

ACTIVE = 0.01  # variance of a posterior mean over images above which its unit is active


def posterior_sums(mean: Tensor, log_variance: Tensor) -> Tensor:
    """What a batch of posteriors (B, Z) adds to the totals (3, Z), float64: means, their squares, rates in nats."""
    mean, log_variance = mean.double(), log_variance.double()
    rates = (mean.square() + log_variance.exp() - 1 - log_variance) / 2  # https://arxiv.org/abs/1312.6114, appendix B
    return torch.stack([mean.sum(0), mean.square().sum(0), rates.sum(0)])


def active_units(totals: Tensor, count: int) -> int:
    """Number of units whose posterior mean has a variance over `count` images above 0.01, from the totals (3, Z): Burda
    et al. 2016, https://arxiv.org/abs/1509.00519, section 5.2."""
    mean, square, _ = totals / count
    return int((square - mean.square() > ACTIVE).sum())


def unit_rates(totals: Tensor, count: int) -> Tensor:
    """Mean rate of each unit (Z,), nats an image, from the totals: near zero for a unit that has collapsed."""
    return totals[2] / count
