"""Learning through a quantiser: https://arxiv.org/abs/1711.00937. Here the stop-gradient is part of the equations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.objectives.precision import upcast


def straight_through(vectors: Tensor, codes: Tensor) -> Tensor:
    """The value of `codes` with the gradient of `vectors`, both (..., D): section 3.2."""
    vectors = upcast(vectors)
    return vectors + (upcast(codes) - vectors).detach()


def commitment_loss(vectors: Tensor, codes: Tensor) -> Tensor:
    """Pulls encoder outputs `vectors` to their codes, both (..., D): third term of eq. 3, as a mean of all numbers."""
    return F.mse_loss(upcast(vectors), upcast(codes).detach())


def codebook_loss(vectors: Tensor, codes: Tensor) -> Tensor:
    """Pulls codes to the encoder outputs that chose them, both (..., D): second term of eq. 3, as a mean of all
    numbers."""
    return F.mse_loss(upcast(codes), upcast(vectors).detach())


def usage(indices: Tensor, codes: int) -> tuple[Tensor, Tensor]:
    """Perplexity, exp(-sum p log p) of the frequencies p of `indices` among `codes`, and the share of codes used."""
    flat = indices.flatten()
    ones = torch.ones(len(flat), device=flat.device)
    frequencies = torch.zeros(codes, device=flat.device).index_add(0, flat, ones) / len(flat)  # (K,)
    return frequencies.xlogy(frequencies).sum().neg().exp(), (frequencies > 0).float().mean()
