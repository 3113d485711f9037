"""Networks that translate images, and a critic of their patches. All are convolutional: one network takes any size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from gen.checks import at_least
from gen.nets.dcgan import start_small
from gen.phase import Shape

LEAST = 8  # pixels a side: instance norm needs several places of each channel
DOUBLINGS = 3  # of the U-Net's channels; deeper layers have no more


@dataclass(frozen=True)
class Translator(ABC):
    """A kind of generator that turns an image into another of its size."""

    kinds: ClassVar[Mapping[str, type[Translator]]]

    width: int = 64  # channels of the first layer; twice as many at each half of the size (64)

    def __post_init__(self) -> None:
        at_least("width", self.width, 1)

    def build(self, shape: Shape) -> nn.Module:
        """(B, C, H, W) -> (B, C, H, W) in [-1, 1]. ValueError if the data's images are too small."""
        if shape.size < LEAST or shape.size % 4:
            raise ValueError(
                f"data.size={shape.size}: translators halve it twice or more; allowed: multiples of 4 from {LEAST}"
            )
        return self.network(shape).apply(start_small)

    @abstractmethod
    def network(self, shape: Shape) -> nn.Module:
        """The network, with PyTorch's own weights."""

    @abstractmethod
    def multiple(self, shape: Shape) -> int:
        """Pixels of which the sides of all images that the network takes are multiples."""


@dataclass(frozen=True)
class Residuals(Translator):
    """Johnson et al. 2016, https://arxiv.org/abs/1603.08155, as CycleGAN's section 7.2 has it: to a quarter of the size
    by convolutions, residual blocks there, and back."""

    blocks: int = 9  # residual blocks (9 from 256 pixels a side on, 6 below)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("blocks", self.blocks, 0)

    def network(self, shape: Shape) -> nn.Module:
        one, two, four = self.width, 2 * self.width, 4 * self.width
        return nn.Sequential(
            *normed(reflected(shape.channels, one, 7)),
            *normed(nn.Conv2d(one, two, 3, stride=2, padding=1)),  # (B, 2 width, H/2, W/2)
            *normed(nn.Conv2d(two, four, 3, stride=2, padding=1)),  # (B, 4 width, H/4, W/4)
            *(ReflectedBlock(four) for _ in range(self.blocks)),
            *normed(nn.ConvTranspose2d(four, two, 3, stride=2, padding=1, output_padding=1)),
            *normed(nn.ConvTranspose2d(two, one, 3, stride=2, padding=1, output_padding=1)),
            *(reflected(one, shape.channels, 7), nn.Tanh()),
        )

    def multiple(self, shape: Shape) -> int:
        return 4


@dataclass(frozen=True)
class UNet(Translator):
    """Isola et al. 2016, https://arxiv.org/abs/1611.07004, section 6.1.1, without dropout: convolutions halve the image
    as often as its side allows, transposed ones double it, and each of these also sees what the convolution of its size
    gave."""

    def network(self, shape: Shape) -> nn.Module:
        halvings = self.multiple(shape).bit_length() - 1
        widths = [self.width << min(step, DOUBLINGS) for step in range(halvings)]
        downs: list[nn.Module] = [nn.Conv2d(shape.channels, widths[0], 4, stride=2, padding=1)]
        for before, after in pairwise(widths):
            down = nn.Conv2d(before, after, 4, stride=2, padding=1)
            downs.append(nn.Sequential(nn.LeakyReLU(0.2), down, nn.InstanceNorm2d(after)))
        downs[-1] = downs[-1][:-1]  # type: ignore[index]  # the innermost may be a single place, which has no variance
        ups: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise([*reversed(widths), shape.channels])):
            up = nn.ConvTranspose2d(before * (1 + (number > 0)), after, 4, stride=2, padding=1)
            last = nn.Tanh() if number + 1 == halvings else nn.InstanceNorm2d(after)
            ups.append(nn.Sequential(nn.ReLU(), up, last))
        return SkipNetwork(downs, ups)

    def multiple(self, shape: Shape) -> int:
        return shape.size & -shape.size  # the largest power of two that divides it


@dataclass(frozen=True)
class PatchCritic:
    """PatchGAN: Isola et al. 2016, https://arxiv.org/abs/1611.07004, section 3.2.2. Each output sees a patch of the
    image, of 70 x 70 pixels after three halvings."""

    width: int = 64  # channels of the first layer; twice as many in each further one, up to 8 times (64)
    halvings: int = 3  # convolutions of stride 2: patches of 16, 34, 70, 142 ... pixels (3)
    slope: float = 0.2  # of the leaky ReLU below zero (0.2)

    def __post_init__(self) -> None:
        at_least("width", self.width, 1)
        at_least("halvings", self.halvings, 1, 6)
        at_least("slope", self.slope, 0, 1)

    def build(self, shape: Shape) -> nn.Sequential:
        """(B, C, H, W) -> (B, 1, H', W'). ValueError if the data's images are too small."""
        if shape.size >> self.halvings < 3:
            raise ValueError(
                f"data.size={shape.size} is too small for model.critic.halvings={self.halvings}; allowed: at least "
                f"{3 << self.halvings} pixels, or fewer halvings"
            )
        widths = [self.width << min(step, DOUBLINGS) for step in range(self.halvings + 1)]
        layers: list[nn.Module] = [nn.Conv2d(shape.channels, widths[0], 4, stride=2, padding=1)]
        layers.append(nn.LeakyReLU(self.slope))
        for number, (before, after) in enumerate(pairwise(widths), 2):
            stride = 2 if number <= self.halvings else 1
            layers += [nn.Conv2d(before, after, 4, stride, padding=1), nn.InstanceNorm2d(after)]
            layers.append(nn.LeakyReLU(self.slope))
        return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, padding=1)).apply(start_small)


class ReflectedBlock(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x))))), (B, width, H, W) -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *normed(reflected(width, width, 3)), reflected(width, width, 3), nn.InstanceNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.branch(x)
        return x + branch


class SkipNetwork(nn.Module):
    """Layers that halve the image, and as many that double it; each of these but the first also gets the output of the
    halving one of its size."""

    def __init__(self, downs: list[nn.Module], ups: list[nn.Module]) -> None:
        super().__init__()
        self.downs, self.ups = nn.ModuleList(downs), nn.ModuleList(ups)

    def forward(self, x: Tensor) -> Tensor:
        halves: list[Tensor] = []
        for down in self.downs:
            x = down(x)
            halves.append(x)
        for up, half in zip(self.ups, [None, *reversed(halves[:-1])], strict=True):
            x = up(x if half is None else torch.cat([half, x], dim=1))
        return x


def reflected(before: int, after: int, kernel: int) -> nn.Conv2d:
    """A convolution that keeps the size: the image is continued by its reflection."""
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, padding_mode="reflect")


def normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """A layer, instance norm without gain and shift, and ReLU."""
    return [layer, nn.InstanceNorm2d(layer.out_channels), nn.ReLU()]


Translator.kinds = {"residual": Residuals, "unet": UNet}
