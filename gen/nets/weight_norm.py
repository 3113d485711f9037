"""Weight normalisation, Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868: the weights of each output of a
layer are a direction and a length."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SPREAD = 0.1  # standard deviation of the directions' numbers at the start: how fast Adam turns them depends on it
LEAST = 1e-6  # added to a standard deviation that may be zero

Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


class WeightNorm(nn.Module):
    """A layer whose weights are w = g v / ||v||, eq. 2, with a bias. Until images have been seen, g is a number that
    keeps the scale of what passes through; `standardise` measures it instead."""

    length: Tensor  # (outputs,): g
    shift: Tensor  # (outputs,)

    def __init__(self, layer: Layer, length: float, learned: bool) -> None:
        """`layer`: one without a bias. `learned`: whether g is trained too, as a factor of what it began with."""
        super().__init__()
        nn.init.normal_(layer.weight, 0.0, SPREAD)
        self.layer, self.outputs = layer, 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        self.others = [axis for axis in range(layer.weight.dim()) if axis != self.outputs]
        count = layer.weight.shape[self.outputs]
        self.register_buffer("length", torch.full((count,), length))
        self.register_buffer("shift", torch.zeros(count))
        self.bias = nn.Parameter(torch.zeros(count))
        self.gain = nn.Parameter(torch.ones(count)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        length = self.length if self.gain is None else self.length * self.gain
        return self.apply_length(self.layer(x), length, self.bias + self.shift)

    def apply_length(self, out: Tensor, length: Tensor, shift: Tensor) -> Tensor:
        """What the weights v give, as weights of a length (outputs,) give it, and shifted."""
        norms = torch.linalg.vector_norm(self.layer.weight, dim=self.others)
        places = [1] * (out.dim() - 2)
        found: Tensor = out * (length / norms).view(-1, *places) + shift.view(-1, *places)
        return found

    @torch.no_grad()
    def standardise(self, x: Tensor) -> None:
        """Sets g and the shift so that each output has mean 0 and variance 1 over `x` and all places: eq. 6."""
        out = self.apply_length(self.layer(x), torch.ones_like(self.length), torch.zeros_like(self.shift))
        spread, mean = torch.std_mean(out.transpose(0, 1).flatten(1), 1, correction=0)  # (outputs,)
        self.length.copy_(1 / (spread + LEAST))
        self.shift.copy_(-mean * self.length)


def standardise(network: nn.Sequential, x: Tensor) -> None:
    """Sets lengths and shifts of a network's layers, one after another, from what they see of `x`."""
    for layer in network:
        if isinstance(layer, WeightNorm):
            layer.standardise(x)
        x = layer(x)


def weighted(layer: Layer, gain: float, norm: bool, learned: bool = False) -> nn.Module:
    """A layer, given without a bias, at its start: under weight normalisation, or with a bias and the weights that it
    would begin with on average."""
    if norm:
        return WeightNorm(layer, gain, learned)
    outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    count = layer.weight.shape[outputs]
    nn.init.normal_(layer.weight, 0.0, gain / (layer.weight.numel() / count) ** 0.5)
    layer.bias = nn.Parameter(torch.zeros(count))
    return layer
