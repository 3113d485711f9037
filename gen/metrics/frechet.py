"""Frechet distance between Gaussians fitted to features (Dowson and Landau 1982; Heusel et al. 2017,
https://arxiv.org/abs/1706.08500), without the slow and touchy matrix square root of a product."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gen.tensors import from_bytes, reading, to_bytes

PANEL = 256  # rows of a product at a time


@dataclass(frozen=True)
class Reference:
    """The side that stays: real features' mean (D,), covariance (D, D) and its root (D, D), float64: upper triangular,
    and root^T root is the covariance."""

    mean: Tensor
    covariance: Tensor
    root: Tensor

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor) -> Reference:
        """With the root computed once: that is most of the work of a distance."""
        mean, covariance = mean.detach().cpu().double(), covariance.detach().cpu().double()
        values, vectors = torch.linalg.eigh(covariance)  # fewer images than D leave it singular: no Cholesky
        return cls(mean, covariance, torch.linalg.qr(values.clamp_min(0).sqrt()[:, None] * vectors.mT).R)

    def distance(self, mean: Tensor, covariance: Tensor) -> float:
        """|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)); at least 0. NaN where a feature was not finite."""
        mean, covariance = mean.detach().cpu().double(), covariance.detach().cpu().double()
        if not (torch.isfinite(mean).all() and torch.isfinite(covariance).all()):
            return math.nan
        return self._joined(mean, covariance.trace(), torch.linalg.eigvalsh(self._product(covariance), UPLO="U"))

    def distance_to(self, features: Tensor) -> float:
        """The distance to the Gaussian of features (n, D), n >= 2, by the cheaper way.

        When n <= D, the n x n Gram matrix A C A^T of the centred A = (x - m') / (n - 1)^(1/2) has all eigenvalues of
        C C' that are not zero: less work, and no round-off from those that are, each of which counts by its root.
        """
        wide = features.detach().to("cpu", torch.float64)
        mean = wide.mean(0)
        if len(wide) > wide.shape[1]:
            return self.distance(mean, wide.mT.cov())
        if len(wide) < 2:
            raise ValueError(f"a covariance needs at least 2 images, it got {len(wide)}")
        if not torch.isfinite(wide).all():
            return math.nan
        centred = (wide - mean) / math.sqrt(len(wide) - 1)
        gram = centred @ self.covariance @ centred.mT
        return self._joined(mean, centred.square().sum(), torch.linalg.eigvalsh(gram))

    def _product(self, covariance: Tensor) -> Tensor:
        """The upper triangle of R C' R^T (D, D), which is symmetric with the eigenvalues of C C'. Panel by panel, what
        is known to be zero or is not asked for is left out: less than half of the arithmetic of two whole products."""
        product = torch.empty_like(covariance)
        for start in range(0, len(covariance), PANEL):
            rows, rest = slice(start, start + PANEL), slice(start, None)
            product[rows, rest] = self.root[rows, rest] @ covariance[rest, rest] @ self.root[rest, rest].mT
        return product

    def _joined(self, mean: Tensor, trace: Tensor, values: Tensor) -> float:
        """The distance from the other side's mean, its covariance's trace, and the eigenvalues of the product."""
        shared = values.clamp_min(0).sqrt().sum()  # round-off makes zeros slightly negative when images < D
        between = (self.mean - mean).square().sum()
        return max(float(between + self.covariance.trace() + trace - 2 * shared), 0.0)

    def to_bytes(self) -> bytes:
        """For `from_bytes`."""
        return to_bytes({"mean": self.mean, "covariance": self.covariance, "root": self.root})

    @classmethod
    def from_bytes(cls, data: bytes) -> Reference:
        """What `to_bytes` stored. ValueError if the bytes are damaged."""
        with reading("the stored reference statistics are damaged; delete them, and they are made anew"):
            return cls(**from_bytes(data))


def frechet_distance(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """Squared Frechet distance between two Gaussians, means (D,) and covariances (D, D); see `Reference.distance`."""
    if not (torch.isfinite(mean_a).all() and torch.isfinite(covariance_a).all()):
        return math.nan
    return Reference.of(mean_a, covariance_a).distance(mean_b, covariance_b)
