"""Kinds of networks that tell classes: noise at training keeps them from knowing few labelled images by heart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from gen.checks import at_least, below_one
from gen.nets.weight_norm import Layer, WeightNorm, standardise, weighted
from gen.objectives.precision import upcast
from gen.phase import Shape

LEAST = 12  # pixels a side of which two halvings leave 3 x 3
TO_FIT = 500  # images, at least, by which the weights' lengths begin


class Noise(nn.Module):
    """Adds normal noise at training, and nothing in evaluation."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.deviation * torch.randn_like(upcast(x)) if self.training else x


class Grey(nn.Module):
    """Images in [-1, 1] as flat grey values (B, C * H * W) in [0, 1]."""

    def forward(self, image: Tensor) -> Tensor:
        return (image.flatten(1) + 1) / 2


class Classifier(nn.Module):
    """Images (B, C, H, W) to logits (B, classes), by way of the features of the last hidden layer."""

    def __init__(self, body: nn.Sequential, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def features(self, image: Tensor) -> Tensor:
        """The last hidden layer (B, F)."""
        features: Tensor = self.body(image)
        return features

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(image))
        return logits

    @contextmanager
    def noisy(self, noisy: bool) -> Iterator[None]:
        """Inside, noise and dropout are those of training if `noisy`, though the classifier is frozen."""
        parts = [part for part in self.body if isinstance(part, (Noise, nn.Dropout))]
        before = [part.training for part in parts]
        for part in parts:
            part.training = noisy or part.training
        try:
            yield
        finally:
            for part, flag in zip(parts, before, strict=True):
                part.training = flag

    def fit(self, draw: Callable[[int], Tensor]) -> None:
        """Begins the lengths of its weights by 500 training images or more, which `draw(0)`, `draw(1)`, ... give, with
        the noise of training. Without weight normalisation it asks for none."""
        if not isinstance(self.head, WeightNorm):
            return
        images = [draw(0)]
        images += [draw(number) for number in range(1, -(-TO_FIT // len(images[0])))]
        with self.noisy(True):
            standardise(nn.Sequential(*self.body, self.head), torch.cat(images))


@dataclass(frozen=True)
class ClassifierNetwork(ABC):
    """A kind of classifier."""

    kinds: ClassVar[Mapping[str, type[ClassifierNetwork]]]

    weight_norm: bool = True  # whether each layer's weights are a direction and a length (Salimans and Kingma 2016)

    @abstractmethod
    def build(self, shape: Shape) -> Classifier:
        """The network for images of `shape`. ValueError for a shape that it does not take."""

    def hidden(self, layer: Layer, slope: float = 0.0) -> list[nn.Module]:
        """A hidden layer, given without a bias, and its ReLU, leaky below zero by `slope`."""
        gain = nn.init.calculate_gain("leaky_relu", slope)
        return [weighted(layer, gain, self.weight_norm), nn.LeakyReLU(slope) if slope else nn.ReLU()]

    def classifier(self, layers: Sequence[nn.Module], features: int, classes: int) -> Classifier:
        """The classifier of these hidden layers. ValueError if there are no classes."""
        if not classes:
            raise ValueError("classes=0: a classifier needs a data set with labels, such as data.name=mnist")
        head = weighted(nn.Linear(features, classes, bias=False), 1.0, self.weight_norm, learned=True)
        return Classifier(nn.Sequential(*layers), head)


@dataclass(frozen=True)
class Perceptron(ClassifierNetwork):
    """Fully connected, for images on the scale [0, 1]: Salimans et al. 2016, https://arxiv.org/abs/1606.03498, 6.1."""

    width: int = (
        250  # units of the last layers; the first has four times as many, the second twice (1000, 500, 250 ...)
    )
    depth: int = 5  # hidden layers (5)
    noise: float = 0.3  # standard deviation of the noise on images, on the scale [0, 1] (0.3)
    hidden_noise: float = 0.5  # standard deviation of the noise behind each hidden layer (0.5)

    def __post_init__(self) -> None:
        at_least("width", self.width, 1)
        at_least("depth", self.depth, 1, 16)
        at_least("noise", self.noise, 0)
        at_least("hidden_noise", self.hidden_noise, 0)

    def build(self, shape: Shape) -> Classifier:
        widths = [max(4 >> layer, 1) * self.width for layer in range(self.depth)]
        layers: list[nn.Module] = [Grey(), *noises(self.noise)]
        for before, after in pairwise([shape.pixels, *widths]):
            layers += [*self.hidden(nn.Linear(before, after, bias=False)), *noises(self.hidden_noise)]
        return self.classifier(layers, widths[-1], shape.classes)


@dataclass(frozen=True)
class Convolutional(ClassifierNetwork):
    """Strided convolutions and a mean over all places: Salimans et al. 2016, https://arxiv.org/abs/1606.03498, 6.2, in
    the form of their code."""

    width: int = 96  # channels of the first three layers; the others have twice as many (96)
    slope: float = 0.2  # of the leaky ReLU below zero (0.2)
    noise: float = 0.0  # standard deviation of the noise on images, on the scale [-1, 1] (0)
    dropout: float = 0.2  # share of the image's numbers that are zero at training (0.2)
    hidden_dropout: float = 0.5  # share of the hidden numbers behind each halving (0.5)

    def __post_init__(self) -> None:
        at_least("width", self.width, 1)
        at_least("slope", self.slope, 0, 1)
        at_least("noise", self.noise, 0)
        below_one("dropout", self.dropout)
        below_one("hidden_dropout", self.hidden_dropout)

    def build(self, shape: Shape) -> Classifier:
        if shape.size < LEAST:
            raise ValueError(
                f"data.size={shape.size}: convolutions halve it twice, to at least 3 pixels; allowed: at least {LEAST}"
            )
        width, wide = self.width, 2 * self.width

        def layer(before: int, after: int, size: int = 3, stride: int = 1, padding: int = 1) -> list[nn.Module]:
            return self.hidden(nn.Conv2d(before, after, size, stride, padding, bias=False), self.slope)

        layers: list[nn.Module] = [*noises(self.noise), *dropouts(self.dropout)]
        layers += [*layer(shape.channels, width), *layer(width, width), *layer(width, width, stride=2)]
        layers += dropouts(self.hidden_dropout)
        layers += [*layer(width, wide), *layer(wide, wide), *layer(wide, wide, stride=2)]
        layers += dropouts(self.hidden_dropout)
        layers += [*layer(wide, wide, padding=0), *layer(wide, wide, 1, padding=0), *layer(wide, wide, 1, padding=0)]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return self.classifier(layers, wide, shape.classes)


def noises(deviation: float) -> list[nn.Module]:
    """Noise at training, if there is any."""
    return [Noise(deviation)] if deviation else []


def dropouts(share: float) -> list[nn.Module]:
    """Dropout at training, if there is any."""
    return [nn.Dropout(share)] if share else []


ClassifierNetwork.kinds = {"mlp": Perceptron, "convolutional": Convolutional}
