"""Kullback-Leibler divergences, and how many units of a latent carry information."""

from __future__ import annotations

import math

from torch import Tensor

from gen.objectives.precision import upcast

ACTIVE = 0.01  # variance of a posterior mean over images above which its unit is active


def rates(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) of each of (B, Z) Gaussians, (B, Z) in nats: appendix B of
    https://arxiv.org/abs/1312.6114."""
    mean, log_variance = upcast(mean), upcast(log_variance)
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def kl_to_uniform(count: int, codes: int) -> float:
    """KL of `count` discrete posteriors, each a single code, from the uniform prior over `codes` codes, in nats:
    log K for each, section 3.1 of https://arxiv.org/abs/1711.00937."""
    return count * math.log(codes)


def active_units(mean: Tensor) -> Tensor:
    """Number () of units whose posterior mean (B, Z) has a variance over the batch above 0.01: Burda et al. 2016,
    https://arxiv.org/abs/1509.00519, section 5.2. The other units have collapsed to the prior."""
    return (upcast(mean).var(0, correction=0) > ACTIVE).sum()
