"""Convolutional pairs of a generator and a critic: those of DCGAN, for any size, and smaller ones for MNIST's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from gen.checks import at_least, below_one, one_of
from gen.nets.adversarial import Adversaries
from gen.nets.norms import BatchNorm, NoNorm, Norm
from gen.phase import Shape

LEAST = 16  # pixels a side
SPREAD = 0.02  # standard deviation of the weights at the start (DCGAN, section 4)
Upsampling = Literal["transposed", "pixel_shuffle"]


class AlwaysDropout(nn.Module):
    """Dropout, in evaluation too, as a source of noise: Isola et al. 2016, https://arxiv.org/abs/1611.07004, 3.2.1."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.share, training=True)


@dataclass(frozen=True)
class Convolutional(Adversaries):
    """What the convolutional networks share."""

    generator_norm: Norm = field(default_factory=BatchNorm)  # of the generator's hidden layers
    critic_norm: Norm = field(default_factory=BatchNorm)  # of the critic's hidden layers, but for its first
    generator_width: int = 64  # channels before the image; twice as many at each half of its size
    critic_width: int = 64  # channels of the critic's first layer; twice as many at each half of the size
    slope: float = 0.2  # of the critic's leaky ReLU below zero
    upsampling: Upsampling = "transposed"  # transposed convolutions of 4 x 4, or of 3 x 3 and a shuffle of pixels
    dropout: float = 0.0  # share of a generator's hidden numbers that are zero, in training and when it is sampled

    def __post_init__(self) -> None:
        at_least("generator_width", self.generator_width, 1)
        at_least("critic_width", self.critic_width, 1)
        at_least("slope", self.slope, 0, 1)
        one_of("upsampling", self.upsampling, ("transposed", "pixel_shuffle"))
        below_one("dropout", self.dropout)

    def double(self, before: int, after: int, bias: bool) -> list[nn.Module]:
        """(B, before, H, W) -> (B, after, 2 H, 2 W)."""
        if self.upsampling == "pixel_shuffle":
            return [nn.Conv2d(before, 4 * after, 3, padding=1, bias=bias), nn.PixelShuffle(2)]
        return [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=bias)]

    def dropouts(self) -> list[nn.Module]:
        """What stands before each of the generator's further layers."""
        return [AlwaysDropout(self.dropout)] if self.dropout else []


@dataclass(frozen=True)
class DCGAN(Convolutional):
    """Radford et al. 2015, https://arxiv.org/abs/1511.06434, section 3, figure 1; for sizes that are powers of two."""

    downsampling: Literal["strided", "average"] = "strided"  # convolutions of stride 2, or of 3 x 3 and a mean of 2 x 2

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("downsampling", self.downsampling, ("strided", "average"))

    def halve(self, before: int, after: int, bias: bool) -> list[nn.Module]:
        """(B, before, H, W) -> (B, after, H / 2, W / 2)."""
        if self.downsampling == "average":
            return [nn.Conv2d(before, after, 3, padding=1, bias=bias), nn.AvgPool2d(2)]
        return [nn.Conv2d(before, after, 4, stride=2, padding=1, bias=bias)]

    def build(self, shape: Shape, latent: int, planes: int = 0) -> tuple[nn.Sequential, nn.Sequential]:
        if shape.size < LEAST or shape.size & (shape.size - 1):
            raise ValueError(f"data.size={shape.size}: DCGAN's networks halve it down to 4; allowed: 16, 32, 64, ...")
        halvings = shape.size.bit_length() - 3  # 64 -> 4 pixels: four
        ups = [self.generator_width << step for step in reversed(range(halvings))]
        downs = [self.critic_width << step for step in range(halvings)]
        generator, critic = self.generator(ups, latent, shape.channels), self.critic(downs, shape.channels + planes)
        for network in (generator, critic):
            network.apply(start_small)
        return self.bound(generator, critic)

    def generator(self, widths: Sequence[int], latent: int, channels: int) -> nn.Sequential:
        """(B, latent) -> (B, channels, H, W): the first layer makes 4 x 4 pixels, each other one doubles the side."""
        norm, bias = self.generator_norm, not self.generator_norm.shifts
        layers: list[nn.Module] = [nn.Unflatten(1, (latent, 1, 1))]
        layers += [nn.ConvTranspose2d(latent, widths[0], 4, bias=bias), *norm.behind(widths[0]), nn.ReLU()]
        for before, after in pairwise(widths):
            layers += [*self.dropouts(), *self.double(before, after, bias), *norm.behind(after), nn.ReLU()]
        return nn.Sequential(*layers, *self.dropouts(), *self.double(widths[-1], channels, bias), nn.Tanh())

    def critic(self, widths: Sequence[int], channels: int) -> nn.Sequential:
        """(B, channels, H, W) -> (B, 1): each layer but the last halves the side; the last sees 4 x 4 pixels, as the
        paper's convolution of 4 x 4 without padding does."""
        norm, bias = self.critic_norm, not self.critic_norm.shifts
        layers = [*self.halve(channels, widths[0], bias), nn.LeakyReLU(self.slope)]
        for before, after in pairwise(widths):
            layers += [*self.halve(before, after, bias), *norm.behind(after), nn.LeakyReLU(self.slope)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * widths[-1], 1, bias=bias))


@dataclass(frozen=True)
class DCGAN28(Convolutional):
    """The networks for MNIST of InfoGAN, Chen et al. 2016, https://arxiv.org/abs/1606.03657, C.1, with a critic that
    pools; for sizes that are multiples of four."""

    critic_norm: Norm = field(default_factory=NoNorm)  # of the critic's hidden layers, but for its first
    critic_width: int = 32  # channels of the critic's first layer; twice as many in its second, 32 times as units
    slope: float = 0.01  # of the critic's leaky ReLU below zero
    pooling: Literal["max", "average"] = "max"  # of 2 x 2 pixels in the critic

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("pooling", self.pooling, ("max", "average"))

    def build(self, shape: Shape, latent: int, planes: int = 0) -> tuple[nn.Sequential, nn.Sequential]:
        if shape.size < LEAST or shape.size % 4:
            raise ValueError(
                f"data.size={shape.size}: these networks begin at a quarter of it; allowed: multiples of 4 from {LEAST}"
            )
        generator = self.generator(latent, shape.channels, shape.size // 4)
        return self.bound(generator, self.critic(shape.channels + planes, shape.size))

    def generator(self, latent: int, channels: int, side: int) -> nn.Sequential:
        """(B, latent) -> (B, channels, 4 side, 4 side). Normalised behind the ReLU."""
        width, norm = self.generator_width, self.generator_norm
        units, places = 16 * width, 2 * width * side**2
        return nn.Sequential(
            *(nn.Linear(latent, units), nn.ReLU(), *norm.behind(units, flat=True), *self.dropouts()),
            *(nn.Linear(units, places), nn.ReLU(), *norm.behind(places, flat=True), *self.dropouts()),
            nn.Unflatten(1, (2 * width, side, side)),
            *(*self.double(2 * width, width, True), nn.ReLU(), *norm.behind(width), *self.dropouts()),
            *(*self.double(width, channels, True), nn.Tanh()),
        )

    def critic(self, channels: int, size: int) -> nn.Sequential:
        """(B, channels, H, W) -> (B, 1): convolutions of 5 x 5 without padding, each followed by a pool that halves."""
        width, norm, leaky = self.critic_width, self.critic_norm, nn.LeakyReLU(self.slope)
        units, side, bias = 32 * width, ((size - 4) // 2 - 4) // 2, not norm.shifts
        pool = nn.AvgPool2d(2) if self.pooling == "average" else nn.MaxPool2d(2)
        return nn.Sequential(
            *(nn.Conv2d(channels, width, 5), leaky, pool),
            *(nn.Conv2d(width, 2 * width, 5, bias=bias), *norm.behind(2 * width), leaky, pool),
            *(nn.Flatten(), nn.Linear(2 * width * side**2, units, bias=bias), *norm.behind(units, flat=True), leaky),
            nn.Linear(units, 1),
        )


def start_small(layer: nn.Module) -> None:
    """Weights as DCGAN begins with them, section 4: N(0, 0.02), gains N(1, 0.02), no shifts."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(layer.weight, 0.0, SPREAD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
        nn.init.normal_(layer.weight, 1.0, SPREAD)
