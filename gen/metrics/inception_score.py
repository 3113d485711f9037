"""Inception score (Salimans et al. 2016, https://arxiv.org/abs/1606.03498), from sums that workers can total."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class InceptionScore:
    """exp of the mutual information between images and classes, by a classifier's logits (N, K).

    It is taken over all images at once. The paper's mean over ten parts is lower, by a bias that grows as parts shrink.
    With any network but Inception it is another number, and its protocol says so.
    """

    def __init__(self, classes: int, device: torch.device | str = "cpu") -> None:
        self.counted = torch.zeros((), dtype=torch.float64, device=device)
        self.shares = torch.zeros(classes, dtype=torch.float64, device=device)
        self.negative_entropy = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, logits: Tensor) -> None:
        """Adds images by their logits (N, K)."""
        logs = torch.log_softmax(logits.detach().double(), 1)
        self.counted += len(logs)
        self.shares += logs.exp().sum(0)
        self.negative_entropy += (logs.exp() * logs).sum()

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """The buffers themselves: total them in place and the score is that of all workers' images."""
        return self.counted, self.shares, self.negative_entropy

    def value(self) -> float:
        """The score, between 1 and K. NaN without images."""
        entropy = torch.special.entr(self.shares / self.counted).sum()
        return math.exp(float(entropy + self.negative_entropy / self.counted))
