"""Kinds of networks for a generator and a critic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from gen.checks import at_least
from gen.nets.mlp import mlp
from gen.nets.norms import NoNorm, Norm
from gen.phase import Shape


@dataclass(frozen=True)
class Adversaries(ABC):
    """The networks of both players."""

    kinds: ClassVar[Mapping[str, type[Adversaries]]]

    generator_norm: Norm = field(default_factory=NoNorm)  # of the generator's hidden layers
    critic_norm: Norm = field(default_factory=NoNorm)  # of the critic's hidden layers, but for its first

    @abstractmethod
    def build(self, shape: Shape, latent: int, planes: int = 0) -> tuple[nn.Sequential, nn.Sequential]:
        """Generator (B, latent) -> (B, C, H, W) in [-1, 1]; critic (B, C + planes, H, W) -> (B, 1), whose last layer is
        an `nn.Linear`, and whose hidden layers end with a ReLU each."""

    def encoder(self, shape: Shape, numbers: int) -> nn.Sequential:
        """(B, C, H, W) -> (B, numbers), unbounded: a critic with a last layer of its own."""
        _, critic = self.build(shape, 1)
        critic[-1] = nn.Linear(last_of(critic).in_features, numbers)
        return critic

    def bound(self, generator: nn.Sequential, critic: nn.Sequential) -> tuple[nn.Sequential, nn.Sequential]:
        """The two, with the weights bounded of which the norm says so."""
        for network, norm in ((generator, self.generator_norm), (critic, self.critic_norm)):
            for layer in network:
                if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                    norm.bound(layer)
        return generator, critic


def last_of(critic: nn.Sequential) -> nn.Linear:
    """A critic's last layer."""
    last = critic[-1]
    assert isinstance(last, nn.Linear)
    return last


def hidden_ends(critic: nn.Sequential) -> list[int]:
    """How many of a critic's modules make its first hidden layer, its first two, and so on."""
    return [number for number, part in enumerate(critic, 1) if isinstance(part, (nn.ReLU, nn.LeakyReLU))]


@dataclass(frozen=True)
class Perceptrons(Adversaries):
    """Fully connected networks: ReLU in the generator, leaky ReLU in the critic."""

    generator_width: int = 1024  # units of the generator's hidden layers (GAN: 1200)
    critic_width: int = 256  # units of the critic's hidden layers (GAN: 240)
    depth: int = 2  # hidden layers of each network (GAN: 2)
    slope: float = 0.01  # of the critic's leaky ReLU below zero
    generator_slope: float = 0.0  # of the generator's below zero; 0: ReLU

    def __post_init__(self) -> None:
        at_least("generator_width", self.generator_width, 1)
        at_least("critic_width", self.critic_width, 1)
        at_least("depth", self.depth, 1, 8)
        at_least("slope", self.slope, 0, 1)
        at_least("generator_slope", self.generator_slope, 0, 1)

    def build(self, shape: Shape, latent: int, planes: int = 0) -> tuple[nn.Sequential, nn.Sequential]:
        ups, downs = [self.generator_width] * self.depth, [self.critic_width] * self.depth
        inputs = (shape.channels + planes) * shape.size**2
        generator = nn.Sequential(
            *mlp([latent, *ups, shape.pixels], self.generator_slope, [self.generator_norm] * self.depth),
            nn.Tanh(),
            nn.Unflatten(1, (shape.channels, shape.size, shape.size)),
        )
        norms = [NoNorm(), *[self.critic_norm] * (self.depth - 1)]
        return self.bound(generator, nn.Sequential(nn.Flatten(), *mlp([inputs, *downs, 1], self.slope, norms)))
