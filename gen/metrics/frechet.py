"""Frechet distance between Gaussians fitted to features (Dowson and Landau 1982; Heusel et al. 2017,
https://arxiv.org/abs/1706.08500), without the slow and touchy matrix square root of a product."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reference:
    """The side that stays: real features' mean (D,), covariance (D, D) and its symmetric root (D, D), float64."""

    mean: Tensor
    covariance: Tensor
    root: Tensor

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor) -> Reference:
        """With the root computed once: that is half of the work of a distance."""
        mean, covariance = mean.detach().cpu().double(), covariance.detach().cpu().double()
        values, vectors = torch.linalg.eigh(covariance)
        return cls(mean, covariance, (vectors * values.clamp_min(0).sqrt()) @ vectors.mT)

    def distance(self, mean: Tensor, covariance: Tensor) -> float:
        """|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)); at least 0. NaN where a feature was not finite."""
        mean, covariance = mean.detach().cpu().double(), covariance.detach().cpu().double()
        if not (torch.isfinite(mean).all() and torch.isfinite(covariance).all()):
            return math.nan
        product = self.root @ covariance @ self.root  # has the eigenvalues of C C', and is symmetric
        values = torch.linalg.eigvalsh((product + product.mT) / 2)
        shared = values.clamp_min(0).sqrt().sum()  # round-off makes zeros slightly negative when images < D
        between = (self.mean - mean).square().sum()
        return max(float(between + self.covariance.trace() + covariance.trace() - 2 * shared), 0.0)


def frechet_distance(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """Squared Frechet distance between two Gaussians, means (D,) and covariances (D, D); see `Reference.distance`."""
    if not (torch.isfinite(mean_a).all() and torch.isfinite(covariance_a).all()):
        return math.nan
    return Reference.of(mean_a, covariance_a).distance(mean_b, covariance_b)
