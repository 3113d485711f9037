"""How the label reaches the two players of a conditional game."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen.checks import at_least
from gen.nets.conditioning import Joiner, LabelJoiner
from gen.phase import Batch, Shape


class EmbeddingJoiner(Joiner):
    """Joins a learned vector for the label of each row."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.numbers = width
        self.vectors = nn.Embedding(classes, width)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        return torch.cat([rows, self.vectors(batch["label"]).to(rows.dtype)], dim=1)


class Reading(nn.Module):
    """How a critic reads images; this one reads them without a label."""

    def forward(self, critic: nn.Sequential, image: Tensor, batch: Batch) -> Tensor:
        """The critic's outputs (B, 1) for images (B, C, H, W), whose labels are in `batch`."""
        scores: Tensor = critic(image)
        return scores


class PlanesReading(Reading):
    """The label joins the image as constant channels, one a class: 1 in that of the label, 0 in the others."""

    one_hot: Tensor  # (classes, classes)

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("one_hot", torch.eye(classes), persistent=False)

    def forward(self, critic: nn.Sequential, image: Tensor, batch: Batch) -> Tensor:
        planes = F.embedding(batch["label"], self.one_hot)[:, :, None, None].expand(-1, -1, *image.shape[2:])
        return super().forward(critic, torch.cat([image, planes.to(image.dtype)], dim=1), batch)


class EmbeddingReading(Reading):
    """The label joins the image as one more channel, which is learned for each class."""

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(classes, size * size)

    def forward(self, critic: nn.Sequential, image: Tensor, batch: Batch) -> Tensor:
        plane = self.vectors(batch["label"]).view(-1, 1, *image.shape[2:])
        return super().forward(critic, torch.cat([image, plane.to(image.dtype)], dim=1), batch)


class ProjectionReading(Reading):
    """The label's vector is projected on what the critic's last layer sees: Miyato and Koyama 2018, eq. 4."""

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(classes, features)

    def forward(self, critic: nn.Sequential, image: Tensor, batch: Batch) -> Tensor:
        *hidden, last = critic
        features = image
        for layer in hidden:
            features = layer(features)  # (B, features) at the end
        scores: Tensor = last(features) + (self.vectors(batch["label"]) * features).sum(1, keepdim=True)
        return scores


@dataclass(frozen=True)
class GameConditioning(ABC):
    """What the players of a game are told of the label."""

    kinds: ClassVar[Mapping[str, type[GameConditioning]]]
    needs: ClassVar[frozenset[str]] = frozenset({"label"})  # columns of a batch

    def check(self, shape: Shape) -> None:
        """ValueError if the data set has no labels."""
        if not shape.classes:
            raise ValueError("classes=0: a conditional model needs a data set with labels, such as data.name=mnist")

    def planes(self, shape: Shape) -> int:
        """How many channels join the images that the critic sees."""
        return 0

    @abstractmethod
    def joiner(self, shape: Shape) -> Joiner:
        """What joins the latents that the generator takes."""

    @abstractmethod
    def reading(self, shape: Shape, features: int) -> Reading:
        """How the critic reads images; its last layer sees so many `features`."""


@dataclass(frozen=True)
class NoLabel(GameConditioning):
    """No condition."""

    needs = frozenset()

    def check(self, shape: Shape) -> None:
        pass

    def joiner(self, shape: Shape) -> Joiner:
        return Joiner()

    def reading(self, shape: Shape, features: int) -> Reading:
        return Reading()


@dataclass(frozen=True)
class OneHotLabel(GameConditioning):
    """Mirza and Osindero 2014, https://arxiv.org/abs/1411.1784: the label joins the latent as a one-hot vector, and the
    image as constant channels, one a class."""

    def planes(self, shape: Shape) -> int:
        return shape.classes

    def joiner(self, shape: Shape) -> Joiner:
        return LabelJoiner(shape.classes)

    def reading(self, shape: Shape, features: int) -> Reading:
        return PlanesReading(shape.classes)


@dataclass(frozen=True)
class EmbeddedLabel(GameConditioning):
    """The label as learned numbers: a vector joins the latent, and a channel joins the image."""

    width: int = 50  # numbers that join the latent

    def __post_init__(self) -> None:
        at_least("width", self.width, 1)

    def planes(self, shape: Shape) -> int:
        return 1

    def joiner(self, shape: Shape) -> Joiner:
        return EmbeddingJoiner(shape.classes, self.width)

    def reading(self, shape: Shape, features: int) -> Reading:
        return EmbeddingReading(shape.classes, shape.size)


@dataclass(frozen=True)
class ProjectedLabel(GameConditioning):
    """Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637: a projection in the critic. The label joins the latent
    as a one-hot vector, where the paper has conditional BatchNorm in the generator."""

    def joiner(self, shape: Shape) -> Joiner:
        return LabelJoiner(shape.classes)

    def reading(self, shape: Shape, features: int) -> Reading:
        return ProjectionReading(shape.classes, features)


GameConditioning.kinds = {
    "none": NoLabel,
    "one_hot": OneHotLabel,
    "embedding": EmbeddedLabel,
    "projection": ProjectedLabel,
}
