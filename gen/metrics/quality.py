"""Figures of single images and of codes."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_error(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean squared error of each image (N,), float64, on the pixel scale [0, 1]; both (N, C, H, W) in [-1, 1].

    A quarter of the error on the scale [-1, 1], and 255^2 times less than that of 8-bit pixels.
    """
    return (images.double() - reconstructions.double()).div(2).square().flatten(1).mean(1)


def perplexity(counts: Tensor) -> float:
    """exp(entropy) of code use, from how often each of K codes was used (K,): 1 if one is, K if all are alike."""
    shares = counts.double() / counts.sum()
    return float(torch.special.entr(shares).sum().exp())


def share_used(counts: Tensor) -> float:
    """Share of the K codes that were used at all, from counts (K,)."""
    return float((counts > 0).double().mean())
