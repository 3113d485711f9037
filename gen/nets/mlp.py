"""Fully connected networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from gen.nets.norms import NoNorm, Norm


def mlp(sizes: Sequence[int], slope: float = 0.0, norms: Sequence[Norm] = ()) -> nn.Sequential:
    """Linear layers (B, sizes[0]) -> (B, sizes[-1]) with ReLU between them, leaky below zero by `slope`. The last layer
    is linear, and its output is what the caller takes it for: logits, means. `norms`: one for each hidden layer, before
    its ReLU."""
    layers: list[nn.Module] = []
    for (fan_in, fan_out), norm in zip(pairwise(sizes[:-1]), norms or [NoNorm()] * (len(sizes) - 2), strict=True):
        layers += [nn.Linear(fan_in, fan_out, bias=not norm.shifts), *norm.behind(fan_out, flat=True)]
        layers += [nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))
