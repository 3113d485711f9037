"""Kinds of networks that make images of noise, beside a classifier."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from gen.checks import at_least
from gen.nets.weight_norm import weighted
from gen.phase import Shape


class FromGrey(nn.Module):
    """Grey values in [0, 1] as those of images, in [-1, 1]."""

    def forward(self, grey: Tensor) -> Tensor:
        return 2 * grey - 1


@dataclass(frozen=True)
class GeneratorNetwork(ABC):
    """A kind of generator."""

    kinds: ClassVar[Mapping[str, type[GeneratorNetwork]]]

    @abstractmethod
    def build(self, shape: Shape, latent: int) -> nn.Sequential:
        """Latents (B, latent) -> images (B, C, H, W) in [-1, 1]. ValueError for a shape that it does not take."""


@dataclass(frozen=True)
class Perceptron(GeneratorNetwork):
    """Fully connected: BatchNorm and softplus, the last layer under weight normalisation. Salimans et al. 2016,
    https://arxiv.org/abs/1606.03498, 6.1."""

    width: int = 500  # units of each hidden layer (500)
    depth: int = 2  # hidden layers (2)

    def __post_init__(self) -> None:
        at_least("width", self.width, 1)
        at_least("depth", self.depth, 1, 16)

    def build(self, shape: Shape, latent: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, after in pairwise([latent, *[self.width] * self.depth]):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.Softplus()]
        last = weighted(nn.Linear(self.width, shape.pixels, bias=False), 1.0, norm=True, learned=True)
        return nn.Sequential(
            *layers, last, nn.Sigmoid(), FromGrey(), nn.Unflatten(1, (shape.channels, shape.size, shape.size))
        )


@dataclass(frozen=True)
class Convolutional(GeneratorNetwork):
    """Transposed convolutions of 5 x 5, BatchNorm and ReLU, the last layer under weight normalisation. Salimans et al.
    2016, https://arxiv.org/abs/1606.03498, 6.2, in the form of their code."""

    width: int = 128  # channels before the image; twice as many at each half of its size (128)
    depth: int = 2  # doublings of the side, of which the image's size must be a multiple (3, from 4 x 4 to 32 x 32)

    def __post_init__(self) -> None:
        at_least("width", self.width, 1)
        at_least("depth", self.depth, 1, 8)

    def build(self, shape: Shape, latent: int) -> nn.Sequential:
        parts, widths = 2**self.depth, [self.width << half for half in reversed(range(self.depth))]
        if shape.size % parts:
            raise ValueError(
                f"data.size={shape.size}: {self.depth} doublings make multiples of {parts}; allowed: such a size, or "
                "another model.generator.depth"
            )
        side = shape.size // parts
        places = widths[0] * side**2
        layers = [nn.Linear(latent, places, bias=False), nn.BatchNorm1d(places), nn.ReLU()]
        layers += [nn.Unflatten(1, (widths[0], side, side))]
        for before, after in pairwise(widths):
            up = nn.ConvTranspose2d(before, after, 5, 2, 2, output_padding=1, bias=False)
            layers += [up, nn.BatchNorm2d(after), nn.ReLU()]
        last = nn.ConvTranspose2d(widths[-1], shape.channels, 5, 2, 2, output_padding=1, bias=False)
        return nn.Sequential(*layers, weighted(last, 1.0, norm=True, learned=True), nn.Tanh())


GeneratorNetwork.kinds = {"mlp": Perceptron, "convolutional": Convolutional}
