"""Mean and covariance of features, summed in float64 batch by batch, and over workers."""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Sums over features (N, D), from which their moments follow."""

    def __init__(self, width: int, device: torch.device | str = "cpu") -> None:
        self.counted = torch.zeros((), dtype=torch.float64, device=device)
        self.summed = torch.zeros(width, dtype=torch.float64, device=device)
        self.products = torch.zeros(width, width, dtype=torch.float64, device=device)

    def add(self, features: Tensor) -> None:
        """Adds features (N, D)."""
        wide = features.detach().double()
        self.counted += len(wide)
        self.summed += wide.sum(0)
        self.products += wide.mT @ wide

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """The buffers themselves: total them in place and the moments are those of all workers' features."""
        return self.counted, self.summed, self.products

    @property
    def count(self) -> int:
        """Rows added."""
        return int(self.counted)

    def mean(self) -> Tensor:
        """The mean (D,), float64."""
        return self.summed / self.counted

    def covariance(self) -> Tensor:
        """The covariance (D, D), float64, unbiased. ValueError below two rows."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 images, it got {self.count}")
        mean = self.mean()
        return (self.products - self.counted * torch.outer(mean, mean)) / (self.counted - 1)
