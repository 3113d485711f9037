"""How a hidden layer's numbers are kept in range: a layer behind it, or a bound on its weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

FIRST_ITERATIONS = 15  # of the power method, before training begins


@dataclass(frozen=True)
class Norm(ABC):
    """A kind of normalisation of a network's hidden layers."""

    kinds: ClassVar[Mapping[str, type[Norm]]]
    shifts: ClassVar[bool] = True  # whether it adds a bias itself, so that the layer before it needs none

    @abstractmethod
    def behind(self, channels: int, flat: bool = False) -> list[nn.Module]:
        """What follows a layer that gives (B, channels, H, W), or (B, channels) if `flat`."""

    def bound(self, layer: nn.Module) -> nn.Module:
        """The layer, its weights bounded where that is the normalisation."""
        return layer


@dataclass(frozen=True)
class NoNorm(Norm):
    """None."""

    shifts = False

    def behind(self, channels: int, flat: bool = False) -> list[nn.Module]:
        return []


@dataclass(frozen=True)
class BatchNorm(Norm):
    """Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167: over the batch."""

    def behind(self, channels: int, flat: bool = False) -> list[nn.Module]:
        return [nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels)]


@dataclass(frozen=True)
class LayerNorm(Norm):
    """Ba et al. 2016, https://arxiv.org/abs/1607.06450: over all channels and places of an image, with a gain and a
    shift for each channel."""

    def behind(self, channels: int, flat: bool = False) -> list[nn.Module]:
        return [nn.GroupNorm(1, channels)]


@dataclass(frozen=True)
class InstanceNorm(Norm):
    """Ulyanov et al. 2016, https://arxiv.org/abs/1607.08022: over the places of each channel of an image; a layer
    without places is one channel, its units the places."""

    def behind(self, channels: int, flat: bool = False) -> list[nn.Module]:
        if flat:
            return [nn.Unflatten(1, (1, channels)), nn.InstanceNorm1d(1, affine=True), nn.Flatten()]
        return [nn.InstanceNorm2d(channels, affine=True)]


class UnitSpectrum(nn.Module):
    """Divides a weight by its largest singular value, as the power method knows it. A step's passes all use the same
    vectors, and `iterate` moves them once a step: so the loss does not depend on how a batch is cut up."""

    left: Tensor  # (rows,)
    right: Tensor  # (columns,)

    def __init__(self, weight: Tensor, rows: int) -> None:
        """`rows`: the axis of `weight` that counts outputs."""
        super().__init__()
        self.rows = rows
        matrix = self.as_matrix(weight.detach())
        if weight.is_meta:  # an outline has no numbers to iterate, and a search outlines hundreds of models
            self.register_buffer("left", torch.empty_like(matrix[:, 0]))
            self.register_buffer("right", torch.empty_like(matrix[0]))
            return
        self.register_buffer("left", F.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("right", F.normalize(torch.randn_like(matrix[0]), dim=0))
        for _ in range(FIRST_ITERATIONS):
            self.iterate(weight.detach())

    def as_matrix(self, weight: Tensor) -> Tensor:
        """A weight as (outputs, all else)."""
        return weight.movedim(self.rows, 0).flatten(1)

    def forward(self, weight: Tensor) -> Tensor:
        return weight / torch.dot(self.left, torch.mv(self.as_matrix(weight), self.right))

    @torch.no_grad()
    def iterate(self, weight: Tensor) -> None:
        """One step of the power method: Miyato et al. 2018, algorithm 1."""
        matrix = self.as_matrix(weight)
        self.right.copy_(F.normalize(torch.mv(matrix.t(), self.left), dim=0))
        self.left.copy_(F.normalize(torch.mv(matrix, self.right), dim=0))


@dataclass(frozen=True)
class SpectralNorm(Norm):
    """Miyato et al. 2018, https://arxiv.org/abs/1802.05957: each layer's weight over its largest singular value."""

    shifts = False

    def behind(self, channels: int, flat: bool = False) -> list[nn.Module]:
        return []

    def bound(self, layer: nn.Module) -> nn.Module:
        rows = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        parametrize.register_parametrization(layer, "weight", UnitSpectrum(layer.weight, rows))  # type: ignore[arg-type]
        return layer


def has_spectra(network: nn.Module) -> bool:
    """Whether weights of a network are bounded by their largest singular value."""
    return any(isinstance(part, UnitSpectrum) for part in network.modules())


def iterate_spectra(network: nn.Module) -> None:
    """Moves the power method of each of a network's bounded weights one step on."""
    for layer in network.modules():
        if isinstance(layer, parametrize.ParametrizationList):
            for part in layer:
                if isinstance(part, UnitSpectrum):
                    part.iterate(layer.original)


Norm.kinds = {
    "none": NoNorm,
    "batch": BatchNorm,
    "layer": LayerNorm,
    "instance": InstanceNorm,
    "spectral": SpectralNorm,
}
