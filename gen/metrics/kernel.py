"""Kernel distance: the unbiased squared maximum mean discrepancy of features under a cubic kernel (Binkowski et al.
2018, https://arxiv.org/abs/1801.01401). Unlike the Frechet distance it is not biased where images are few."""

from __future__ import annotations

import torch
from torch import Tensor

SUBSETS = 100  # as in the paper ...
SIZE = 1000  # ... of so many images each


def squared_discrepancy(real: Tensor, fakes: Tensor) -> Tensor:
    """Unbiased MMD^2 (), float64, of features (N, D) and (M, D) under k(x, y) = (x.y / D + 1)^3: section 3, eq. 4.
    It may be negative. It holds an (N, M) matrix, so the caller takes subsets."""
    real, fakes = real.double(), fakes.double()

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        return (one @ other.mT / one.shape[1] + 1) ** 3

    def within(features: Tensor) -> Tensor:
        pairs, count = kernel(features, features), len(features)
        return (pairs.sum() - pairs.trace()) / (count * (count - 1))

    return within(real) + within(fakes) - 2 * kernel(real, fakes).mean()


def kernel_distance(
    real: Tensor, fakes: Tensor, subsets: int = SUBSETS, size: int = SIZE, seed: int = 0
) -> tuple[float, float]:
    """Mean of MMD^2 over random subsets of features (N, D) and (M, D), and its standard deviation over the subsets, not
    that of the mean. Subsets are at most as large as the smaller side. NaN where a feature was not finite.

    ValueError below two features a side.
    """
    size = min(size, len(real), len(fakes))
    if size < 2:
        raise ValueError(f"a kernel distance needs at least 2 images a side, it got {len(real)} and {len(fakes)}")
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same subsets on every device
    found = []
    for _ in range(subsets):
        picked = [torch.randperm(len(side), generator=generator)[:size].to(side.device) for side in (real, fakes)]
        found.append(squared_discrepancy(real[picked[0]], fakes[picked[1]]))
    values = torch.stack(found)
    return float(values.mean()), float(values.std(correction=0))
