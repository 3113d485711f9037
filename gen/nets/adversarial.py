"""Pairs of a generator and a critic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gen.checks import at_least
from gen.nets.mlp import mlp
from gen.phase import Shape


@dataclass(frozen=True)
class Adversaries(ABC):
    """A kind of pair."""

    kinds: ClassVar[Mapping[str, type[Adversaries]]]

    @abstractmethod
    def build(self, shape: Shape, latent: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Generator (B, latent) -> (B, C, H, W) in [-1, 1]; critic (B, C, H, W) -> (B, 1), whose last layer is
        linear."""


@dataclass(frozen=True)
class Perceptrons(Adversaries):
    """Fully connected networks: ReLU in the generator, leaky ReLU in the critic."""

    generator_width: int = 1024  # units of the generator's hidden layers (GAN: 1200)
    critic_width: int = 256  # units of the critic's hidden layers (GAN: 240)
    depth: int = 2  # hidden layers of each network (GAN: 2)
    slope: float = 0.01  # of the critic's leaky ReLU below zero

    def __post_init__(self) -> None:
        at_least("generator_width", self.generator_width, 1)
        at_least("critic_width", self.critic_width, 1)
        at_least("depth", self.depth, 1, 8)
        at_least("slope", self.slope, 0, 1)

    def build(self, shape: Shape, latent: int) -> tuple[nn.Sequential, nn.Sequential]:
        generator = nn.Sequential(
            *mlp([latent, *[self.generator_width] * self.depth, shape.pixels]),
            nn.Tanh(),
            nn.Unflatten(1, (shape.channels, shape.size, shape.size)),
        )
        critic = nn.Sequential(nn.Flatten(), *mlp([shape.pixels, *[self.critic_width] * self.depth, 1], self.slope))
        return generator, critic


Adversaries.kinds = {"mlp": Perceptrons}
