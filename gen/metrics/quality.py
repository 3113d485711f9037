"""Figures of single images and of codes."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_error(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean squared error of each image (N,), float64, on the pixel scale [0, 1]; both (N, C, H, W) in [-1, 1].

    A quarter of the error on the scale [-1, 1], and 255^2 times less than that of 8-bit pixels.
    """
    return (images.double() - reconstructions.double()).div(2).square().flatten(1).mean(1)


def signal_to_noise(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image (N,), float64, in decibel; infinite where nothing differs."""
    return -10 * torch.log10(squared_error(images, reconstructions))


def similarity(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Structural similarity of each image (N,), float32, at most 1 (Wang et al. 2004), over Gaussian windows of 11 x 11
    and all channels. Both (N, C, H, W) in [-1, 1]. ValueError below 6 pixels a side, which the window's rim needs.

    torchmetrics computes it. It takes a second to import, so it is imported here.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    if min(images.shape[2:]) < 6:
        raise ValueError(
            f"structural similarity needs images of at least 6 pixels a side, these have {images.shape[2]}"
        )
    one, other = (
        (side.float() + 1) / 2 for side in (images, reconstructions)
    )  # a CPU takes 7 times as long in float64
    found = structural_similarity_index_measure(other, one, reduction="none", data_range=1.0)
    assert isinstance(found, Tensor)
    return found.reshape(len(images))


def rightly_classified(logits: Tensor, labels: Tensor) -> Tensor:
    """Number (), int64, of the images whose largest of K logits (N, K) is at their label (N,): N times the accuracy."""
    return (logits.argmax(1) == labels).sum()


def perplexity(counts: Tensor) -> float:
    """exp(entropy) of the use of codes, from counts (K,): 1 if a single code is used, K if all are equally often."""
    shares = counts.double() / counts.sum()
    return float(torch.special.entr(shares).sum().exp())


def share_used(counts: Tensor) -> float:
    """Share of the K codes that were used at all, from counts (K,)."""
    return float((counts > 0).double().mean())
