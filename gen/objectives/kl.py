"""Kullback-Leibler divergences."""

from __future__ import annotations

from torch import Tensor

from gen.objectives.precision import upcast


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) of (B, Z) diagonal Gaussians, (B,) in nats: appendix B of
    https://arxiv.org/abs/1312.6114."""
    mean, log_variance = upcast(mean), upcast(log_variance)
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
