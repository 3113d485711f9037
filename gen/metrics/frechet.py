"""Frechet distance between Gaussians fitted to features (Dowson and Landau 1982; Heusel et al. 2017,
https://arxiv.org/abs/1706.08500), without the slow and touchy matrix square root of a product."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gen.damage import DamageError
from gen.tensors import from_bytes, reading, to_bytes

PANEL = 256  # rows of a product at a time


@dataclass(frozen=True)
class Reference:
    """The Gaussian of real features, to which many others are compared: mean (D,), covariance (D, D) and its root
    (D, D), all float64. The root is upper triangular, and root^T root is the covariance."""

    mean: Tensor
    covariance: Tensor
    root: Tensor

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor) -> Reference:
        """The reference of a mean and a covariance. It computes the root, most of the work of a distance, once."""
        mean, covariance = mean.detach().cpu().double(), covariance.detach().cpu().double()
        values, vectors = torch.linalg.eigh(covariance)  # fewer images than D leave it singular: no Cholesky
        return cls(mean, covariance, torch.linalg.qr(values.clamp_min(0).sqrt()[:, None] * vectors.mT).R)

    def distance(self, mean: Tensor, covariance: Tensor) -> float:
        """|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) to mean m' and covariance C'; at least 0. NaN if not finite."""
        mean, covariance = mean.detach().cpu().double(), covariance.detach().cpu().double()
        if not (torch.isfinite(mean).all() and torch.isfinite(covariance).all()):
            return math.nan
        return self._combine(mean, covariance.trace(), torch.linalg.eigvalsh(self._product(covariance), UPLO="U"))

    def distance_to(self, features: Tensor) -> float:
        """The distance to the Gaussian of features (n, D), n >= 2, by the cheaper way.

        When n <= D, the n x n Gram matrix A C A^T of the centred A = (x - m') / (n - 1)^(1/2) has all eigenvalues of
        C C' that are not zero. It is less work, and no zero eigenvalue adds the square root of its round-off.
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
        return self._combine(mean, centred.square().sum(), torch.linalg.eigvalsh(gram))

    def _product(self, covariance: Tensor) -> Tensor:
        """The upper triangle of R C' R^T (D, D), which is symmetric with the eigenvalues of C C'. It is made panel by
        panel, without what is zero or not needed: less than half of the arithmetic of two whole products."""
        product = torch.empty_like(covariance)
        for start in range(0, len(covariance), PANEL):
            rows, rest = slice(start, start + PANEL), slice(start, None)
            product[rows, rest] = self.root[rows, rest] @ covariance[rest, rest] @ self.root[rest, rest].mT
        return product

    def _combine(self, mean: Tensor, trace: Tensor, values: Tensor) -> float:
        """The distance to a Gaussian, from its mean, its covariance's trace, and the eigenvalues of the product."""
        shared = values.clamp_min(0).sqrt().sum()  # round-off makes zeros slightly negative when images < D
        between = (self.mean - mean).square().sum()
        return max(float(between + self.covariance.trace() + trace - 2 * shared), 0.0)

    def to_bytes(self) -> bytes:
        """The reference as bytes that `from_bytes` reads."""
        return to_bytes({"mean": self.mean, "covariance": self.covariance, "root": self.root})

    @classmethod
    def from_bytes(cls, data: bytes) -> Reference:
        """The reference that `to_bytes` stored. DamageError if the bytes are damaged."""
        with reading("the stored reference statistics are damaged; delete them, and they are made anew"):
            found = cls(**from_bytes(data))
            if found.mean.dim() != 1 or not len(found.mean) == len(found.covariance) == len(found.root):
                raise DamageError("their parts do not belong together")
            return found
