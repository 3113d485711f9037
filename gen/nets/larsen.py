"""The convolutional networks of VAE-GAN, Larsen et al. 2015."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from gen.nets.dcgan import LEAST, Convolutional, start_small
from gen.phase import Shape

HALVINGS = 3  # of the side, in each network


@dataclass(frozen=True)
class Larsen(Convolutional):
    """Larsen et al. 2015, https://arxiv.org/abs/1512.09300, table 1: convolutions of 5 x 5 between an eighth of the
    side and the whole, and a fully connected layer; for sizes that are multiples of eight."""

    generator_width: int = 32  # channels before the image; 4, 8 and 8 times as many at each half of its size (32)
    critic_width: int = 32  # channels of the critic's first layer; 4, 8 and 8 times as many at each half (32)
    slope: float = 0.0  # of the critic's and the encoder's ReLU below zero; 0: ReLU

    def build(self, shape: Shape, latent: int, planes: int = 0) -> tuple[nn.Sequential, nn.Sequential]:
        side = self.smallest(shape)
        generator, critic = self.generator(latent, shape.channels, side), self.critic(shape.channels + planes, side)
        for network in (generator, critic):
            network.apply(start_small)
        return self.bound(generator, critic)

    def smallest(self, shape: Shape) -> int:
        """The side of what the networks' fully connected layers see."""
        side, rest = shape.size >> HALVINGS, shape.size % (1 << HALVINGS)
        if shape.size < LEAST or rest:
            raise ValueError(
                f"data.size={shape.size}: these networks halve it three times; allowed: multiples of 8 from {LEAST}"
            )
        return side

    def double(self, before: int, after: int, bias: bool) -> list[nn.Module]:
        if self.upsampling == "pixel_shuffle":
            return super().double(before, after, bias)
        return [nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1, bias=bias)]

    def generator(self, latent: int, channels: int, side: int) -> nn.Sequential:
        """(B, latent) -> (B, channels, 8 side, 8 side)."""
        width, norm = self.generator_width, self.generator_norm
        places, bias = 8 * width * side**2, not norm.shifts
        layers: list[nn.Module] = [nn.Linear(latent, places, bias=bias), *norm.behind(places, flat=True), nn.ReLU()]
        layers += [nn.Unflatten(1, (8 * width, side, side))]
        for before, after in pairwise([8 * width, 8 * width, 4 * width, width]):
            layers += [*self.dropouts(), *self.double(before, after, bias), *norm.behind(after), nn.ReLU()]
        return nn.Sequential(*layers, *self.dropouts(), nn.Conv2d(width, channels, 5, padding=2), nn.Tanh())

    def critic(self, channels: int, side: int) -> nn.Sequential:
        """(B, channels, 8 side, 8 side) -> (B, 1)."""
        width = self.critic_width
        first = [nn.Conv2d(channels, width, 5, padding=2), self.active()]
        hidden = self.shrinking([width, 4 * width, 8 * width, 8 * width], side, 16 * width)
        return nn.Sequential(*first, *hidden, nn.Linear(16 * width, 1))

    def encoder(self, shape: Shape, numbers: int) -> nn.Sequential:
        """(B, C, H, W) -> (B, numbers), unbounded: 2, 4 and 8 times the critic's first channels, and 64 times as many
        units (table 1: 64, 128, 256 and 2048)."""
        width, side = self.critic_width, self.smallest(shape)
        hidden = self.shrinking([shape.channels, 2 * width, 4 * width, 8 * width], side, 64 * width)
        _, encoder = self.bound(nn.Sequential(), nn.Sequential(*hidden).apply(start_small))
        return encoder.append(nn.Linear(64 * width, numbers))

    def shrinking(self, widths: Sequence[int], side: int, units: int) -> list[nn.Module]:
        """(B, widths[0], 8 side, 8 side) -> (B, units)."""
        norm, bias = self.critic_norm, not self.critic_norm.shifts
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            halve = nn.Conv2d(before, after, 5, stride=2, padding=2, bias=bias)
            layers += [halve, *norm.behind(after), self.active()]
        places = widths[-1] * side**2
        dense = nn.Linear(places, units, bias=bias)
        return [*layers, nn.Flatten(), dense, *norm.behind(units, flat=True), self.active()]

    def active(self) -> nn.Module:
        """The ReLU of the critic and the encoder."""
        return nn.LeakyReLU(self.slope) if self.slope else nn.ReLU()
