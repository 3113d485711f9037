"""Fully connected networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(sizes: Sequence[int], slope: float = 0.0) -> nn.Sequential:
    """Linear layers (B, sizes[0]) -> (B, sizes[-1]) with ReLU between them, leaky below zero by `slope`; none after the
    last, which emits logits, means or whatever the caller makes of it."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return nn.Sequential(*layers[:-1])
