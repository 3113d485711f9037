"""Likelihoods of an image given a decoder's output. They alone know how images in [-1, 1] map to their own scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.objectives.precision import upcast


@dataclass(frozen=True)
class Bernoulli:
    """Independent Bernoulli pixels: the decoder emits logits, and the grey values (x + 1) / 2 stand for their means."""

    def distortion(self, logits: Tensor, image: Tensor) -> Tensor:
        """Negative log-likelihood (B,) in nats, summed over pixels: appendix C.1 of https://arxiv.org/abs/1312.6114.
        `logits` has as many numbers a row as `image` (B, C, H, W) in [-1, 1]."""
        grey = (upcast(image) + 1) / 2
        logits = upcast(logits).view_as(grey)
        return F.binary_cross_entropy_with_logits(logits, grey, reduction="none").flatten(1).sum(1)

    def mean(self, logits: Tensor) -> Tensor:
        """The expected image, in [-1, 1], shaped as `logits`."""
        return torch.sigmoid(upcast(logits)) * 2 - 1


@dataclass(frozen=True)
class SquaredError:
    """Squared error a pixel, a scaled Gaussian of fixed variance: the decoder emits pixels in [-0.5, 0.5]."""

    def distortion(self, output: Tensor, image: Tensor) -> Tensor:
        """Mean squared error (B,) over the pixels of `image` (B, C, H, W) in [-1, 1], on the scale [-0.5, 0.5]."""
        return (upcast(output) - upcast(image) / 2).square().flatten(1).mean(1)

    def mean(self, output: Tensor) -> Tensor:
        """The expected image, clamped to [-1, 1], shaped as `output`."""
        return (upcast(output) * 2).clamp(-1, 1)
