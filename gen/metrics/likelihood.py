"""Figures of models with a likelihood, from nats an image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor

Nats = TypeVar("Nats", float, Tensor)


def importance_bound(draws: Iterable[Tensor]) -> Tensor:
    """log (1/k) sum of k importance weights (B,), float64, from k draws of log-weights (B,): eq. 8 of Burda et al.
    2016, https://arxiv.org/abs/1509.00519. One draw is held at a time. ValueError without draws.

    Its mean is a lower bound of the log-likelihood, nats an image, that rises with k; k = 1 gives the ELBO.
    """
    total, count = None, 0
    for weights in draws:
        wide = weights.double()
        total = wide if total is None else torch.logaddexp(total, wide)
        count += 1
    if total is None:
        raise ValueError("an importance-weighted bound needs at least 1 draw")
    return total - math.log(count)


def bits_per_dimension(nats: Nats, pixels: int, density: bool = True) -> Nats:
    """Bits a number of an 8-bit image, from the negative log-likelihood in nats of all its `pixels` numbers.

    `density`: the nats are of a density on the scale [-1, 1], where neighbouring values are 1 / 127.5 apart, which
    costs log2(127.5) = 6.994 bits a number; False: they are of the 256 values themselves. Bits bound the length of a
    code only if the nats are of the 256 values, or of a density of dequantised images. Bernoulli on grey values is
    neither, so name the likelihood beside a figure.
    """
    return nats / (pixels * math.log(2)) + (math.log2(127.5) if density else 0.0)
