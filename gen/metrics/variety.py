"""Whether images differ at all, and from each other: what a generator loses when it collapses."""

from __future__ import annotations

import torch
from torch import Tensor


def variety(images: Tensor) -> tuple[Tensor, Tensor]:
    """Variance of all numbers of images (N, ...), near zero where all of them are blank, and the mean over pairs of
    images of their distance, the root of the mean squared difference, exactly zero where all are the same. Float64."""
    rows = images.double().flatten(1)
    return rows.var(correction=0), torch.pdist(rows).mean() / rows.shape[1] ** 0.5
