"""Strided convolutions with BatchNorm and leaky ReLU: each halves the side of its input, or doubles it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

SLOPE = 0.01  # of the leaky ReLU below zero


def halvings(widths: Sequence[int]) -> nn.Sequential:
    """(B, widths[0], H, W) -> (B, widths[-1], H / 2^n, W / 2^n) in n = len(widths) - 1 convolutions of 3 x 3."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)


def doublings(widths: Sequence[int], out: int) -> nn.Sequential:
    """(B, widths[0], H, W) -> (B, out, H * 2^n, W * 2^n), unbounded, in n = len(widths) - 1 transposed convolutions of
    3 x 3 and one of stride 1."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        up = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
        layers += [up, nn.BatchNorm2d(after), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], out, 3, padding=1))


def idle_biases(module: nn.Module) -> list[str]:
    """Names of the biases that BatchNorm or instance norm cancels, since it follows at once: their gradient is zero up
    to round-off."""
    return [
        f"{name}.{index}.bias"
        for name, parts in module.named_modules()
        if isinstance(parts, nn.Sequential)
        for index, (part, following) in enumerate(pairwise(parts))
        if isinstance(following, (nn.BatchNorm2d, nn.InstanceNorm2d)) and getattr(part, "bias", None) is not None
    ]
