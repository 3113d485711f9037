"""Likelihoods of an image given a decoder's output. They alone know how images in [-1, 1] map to their own scale.

A function is one equation. A `PixelLikelihood` is a module that computes one, and holds a variance if it needs one:
fixed, fitted to the data, or learned. A `Distortion` is the setting that builds such a module.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen.checks import at_least
from gen.objectives.precision import upcast
from gen.phase import Batch

FIT_DRAWS = 16  # training batches to which a variance is fitted


def bernoulli(logits: Tensor, image: Tensor) -> Tensor:
    """Negative log-likelihood (B,) in nats of independent Bernoulli pixels. The grey values (x + 1) / 2 of `image`
    (B, C, H, W) in [-1, 1] stand in for their 0 and 1: appendix C.1 of https://arxiv.org/abs/1312.6114."""
    grey = (upcast(image) + 1) / 2
    logits = upcast(logits).view_as(grey)
    return F.binary_cross_entropy_with_logits(logits, grey, reduction="none").flatten(1).sum(1)


def gaussian(mean: Tensor, log_variance: Tensor, image: Tensor) -> Tensor:
    """Negative log-density (B,) in nats of `image` (B, C, H, W), on its own scale [-1, 1], under independent Gaussian
    pixels: appendix C.2 of https://arxiv.org/abs/1312.6114. `log_variance`: as many numbers as pixels, or one."""
    error = (upcast(image).flatten(1) - upcast(mean).flatten(1)).square()
    log_variance = upcast(log_variance).flatten(1) if log_variance.dim() else upcast(log_variance)
    return (log_variance + error * (-log_variance).exp() + math.log(2 * math.pi)).sum(1) / 2


def squared_error(output: Tensor, image: Tensor) -> Tensor:
    """Squared error (B,), summed over the pixels of `image` (B, C, H, W) in [-1, 1], on the scale [-0.5, 0.5] of
    `output`: up to a factor and a constant, a Gaussian of fixed variance."""
    return (upcast(output).flatten(1) - upcast(image).flatten(1) / 2).square().sum(1)


def unit_gaussian(mean: Tensor, value: Tensor) -> Tensor:
    """Negative log-density (B,) in nats, but for its constant, of `value` (B, ...) under independent Gaussians of
    variance one around `mean`, shaped like it: eq. 6 of https://arxiv.org/abs/1512.09300."""
    return (upcast(value).flatten(1) - upcast(mean).flatten(1)).square().sum(1) / 2


def softly_above(least: float, value: Tensor) -> Tensor:
    """`value`, bent smoothly so that it stays above `least`: softclip of https://arxiv.org/abs/2006.13202."""
    return least + F.softplus(value - least)


class PixelLikelihood(nn.Module):
    """Independent pixels given a decoder's output (B, numbers * C, H, W), or the same flattened."""

    density: str  # name of p(x|z), or of the distortion in its place
    numbers = 1  # how many the decoder emits for each number of the image

    @abstractmethod
    def distortion(self, output: Tensor, image: Tensor) -> Tensor:
        """Negative log-likelihood (B,) of `image` (B, C, H, W) in [-1, 1], summed over its pixels."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """The expected image, in [-1, 1], (B, C, H, W) or flattened as `output` is."""

    def fit(self, draw: Callable[[int], Batch]) -> None:
        """Fits to training images what is not learned by gradient; by default nothing."""


class BernoulliPixels(PixelLikelihood):
    """The decoder emits logits. On grey values this is no normalised density: figures compare only with one another."""

    density = "bernoulli"

    def distortion(self, output: Tensor, image: Tensor) -> Tensor:
        return bernoulli(output, image)

    def mean(self, output: Tensor) -> Tensor:
        return torch.sigmoid(upcast(output)) * 2 - 1


class SquaredErrorPixels(PixelLikelihood):
    """The decoder emits pixels in [-0.5, 0.5]. This distortion is no likelihood."""

    density = "mse"

    def distortion(self, output: Tensor, image: Tensor) -> Tensor:
        return squared_error(output, image)

    def mean(self, output: Tensor) -> Tensor:
        return (upcast(output) * 2).clamp(-1, 1)


class GaussianPixels(PixelLikelihood):
    """The decoder emits the mean, on the scale [-1, 1] of the images; the variance is one number for all pixels."""

    density = "gaussian"
    log_variance: Tensor  # ()

    def __init__(self, tanh: bool, deviation: float) -> None:
        """`deviation`: the standard deviation; where it is fitted or learned, the least one."""
        super().__init__()
        self.tanh, self.deviation = tanh, deviation
        self.least = 2 * math.log(deviation)  # of a log-variance
        self.hold()

    def hold(self) -> None:
        """Makes the variance's buffer or parameter."""
        self.register_buffer("log_variance", torch.tensor(self.least))

    def parts(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, shaped as the image or flattened, and log-variance."""
        return self.on_image_scale(output), self.log_variance

    def on_image_scale(self, mean: Tensor) -> Tensor:
        """The mean on the scale of the images."""
        return upcast(mean).tanh() if self.tanh else upcast(mean)

    def distortion(self, output: Tensor, image: Tensor) -> Tensor:
        return gaussian(*self.parts(output), image)

    def mean(self, output: Tensor) -> Tensor:
        return self.parts(output)[0].clamp(-1, 1)


class FittedGaussianPixels(GaussianPixels):
    """The variance is that of all pixels of `FIT_DRAWS` training batches together, about their common mean. It is 1
    until `fit` is called."""

    def hold(self) -> None:
        self.register_buffer("log_variance", torch.zeros(()))

    @torch.no_grad()
    def fit(self, draw: Callable[[int], Batch]) -> None:
        pixels = torch.cat([draw(number)["image"].flatten() for number in range(FIT_DRAWS)]).double()
        self.log_variance.copy_(pixels.var().clamp(min=self.deviation**2).log())


class LearnedGaussianPixels(GaussianPixels):
    """The variance is a parameter: https://arxiv.org/abs/2006.13202, section 3."""

    def hold(self) -> None:
        self.log_variance = nn.Parameter(torch.zeros(()))

    def parts(self, output: Tensor) -> tuple[Tensor, Tensor]:
        return self.on_image_scale(output), softly_above(self.least, upcast(self.log_variance))


class OwnGaussianPixels(GaussianPixels):
    """The decoder emits a log-variance for each pixel too, after all the means."""

    numbers = 2

    def hold(self) -> None:
        pass

    def parts(self, output: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = upcast(output).chunk(2, dim=1)
        return self.on_image_scale(mean), softly_above(self.least, log_variance)


@dataclass(frozen=True)
class Variance(ABC):
    """Where a Gaussian's variance comes from."""

    kinds: ClassVar[Mapping[str, type[Variance]]]

    @abstractmethod
    def build(self, tanh: bool) -> GaussianPixels:
        """The Gaussian with this variance."""


@dataclass(frozen=True)
class FixedVariance(Variance):
    """A fixed variance."""

    deviation: float = 1.0  # the standard deviation on the scale [-1, 1]

    def __post_init__(self) -> None:
        at_least("deviation", self.deviation, 1e-3)

    def build(self, tanh: bool) -> GaussianPixels:
        return GaussianPixels(tanh, self.deviation)


@dataclass(frozen=True)
class DataVariance(Variance):
    """One variance for all pixels, that of the training images."""

    least_deviation: float = 0.005  # the standard deviation stays above it (2006.13202: exp(-6) on [0, 1])

    def __post_init__(self) -> None:
        at_least("least_deviation", self.least_deviation, 1e-4)

    def build(self, tanh: bool) -> GaussianPixels:
        return FittedGaussianPixels(tanh, self.least_deviation)


@dataclass(frozen=True)
class SharedVariance(DataVariance):
    """One variance for all pixels, learned."""

    def build(self, tanh: bool) -> GaussianPixels:
        return LearnedGaussianPixels(tanh, self.least_deviation)


@dataclass(frozen=True)
class PixelVariance(DataVariance):
    """A variance for each pixel, which the decoder emits."""

    def build(self, tanh: bool) -> GaussianPixels:
        return OwnGaussianPixels(tanh, self.least_deviation)


Variance.kinds = {"fixed": FixedVariance, "data": DataVariance, "shared": SharedVariance, "pixel": PixelVariance}


@dataclass(frozen=True)
class Distortion(ABC):
    """How an image and a decoder's output are compared. Figures in nats of different kinds do not compare."""

    kinds: ClassVar[Mapping[str, type[Distortion]]]
    in_nats: ClassVar[bool] = True  # whether it is a likelihood

    @abstractmethod
    def build(self) -> PixelLikelihood:
        """The module that measures it."""


@dataclass(frozen=True)
class Density(Distortion):
    """A distortion that is a likelihood."""


@dataclass(frozen=True)
class Bernoulli(Density):
    """Independent Bernoulli pixels; grey values stand in for their 0 and 1."""

    def build(self) -> PixelLikelihood:
        return BernoulliPixels()


@dataclass(frozen=True)
class Gaussian(Density):
    """Independent Gaussian pixels."""

    variance: Variance = field(default_factory=PixelVariance)
    tanh: bool = False  # whether the mean is the tanh of what the decoder emits

    def build(self) -> PixelLikelihood:
        return self.variance.build(self.tanh)


@dataclass(frozen=True)
class SquaredError(Distortion):
    """The squared error, which is no likelihood."""

    in_nats = False

    def build(self) -> PixelLikelihood:
        return SquaredErrorPixels()


Density.kinds = {"bernoulli": Bernoulli, "gaussian": Gaussian}
Distortion.kinds = {**Density.kinds, "mse": SquaredError}
