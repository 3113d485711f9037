"""What a network is conditioned on, as numbers that join the rows that it takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen.phase import Batch, Shape


class Joined(nn.Module):
    """Joins nothing."""

    numbers = 0  # that join a row

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """`rows` (B, N) with what is known of each, (B, N + numbers)."""
        return rows


class JoinedLabel(Joined):
    """Joins the one-hot label."""

    one_hot: Tensor  # (classes, classes)

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.numbers = classes
        self.register_buffer("one_hot", torch.eye(classes), persistent=False)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        return torch.cat([rows, F.embedding(batch["label"], self.one_hot)], dim=1)


@dataclass(frozen=True)
class Conditioning(ABC):
    """A kind of conditioning."""

    kinds: ClassVar[Mapping[str, type[Conditioning]]]
    needs: ClassVar[frozenset[str]] = frozenset()  # columns

    @abstractmethod
    def build(self, shape: Shape) -> Joined:
        """What joins rows. ValueError if the data set has not what it needs."""


@dataclass(frozen=True)
class Unconditional(Conditioning):
    """On nothing."""

    def build(self, shape: Shape) -> Joined:
        return Joined()


@dataclass(frozen=True)
class OneHot(Conditioning):
    """On the label, as a one-hot vector: Sohn et al. 2015 (NeurIPS)."""

    needs = frozenset({"label"})

    def build(self, shape: Shape) -> Joined:
        if not shape.classes:
            raise ValueError("classes=0: a conditional model needs a data set with labels, such as data.name=mnist")
        return JoinedLabel(shape.classes)


Conditioning.kinds = {"none": Unconditional, "one_hot": OneHot}
