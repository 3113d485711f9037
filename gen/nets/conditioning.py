"""What a network is conditioned on: numbers that join each row of its input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen.phase import Batch, Shape


class Joiner(nn.Module):
    """Joins numbers to the rows of a network's input; this one, without a condition, joins none."""

    numbers = 0  # how many join each row

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """`rows` (B, N), each followed by its numbers: (B, N + numbers)."""
        return rows


class LabelJoiner(Joiner):
    """Joins each row's label, as a one-hot vector."""

    one_hot: Tensor  # (classes, classes)

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.numbers = classes
        self.register_buffer("one_hot", torch.eye(classes), persistent=False)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        return torch.cat([rows, F.embedding(batch["label"], self.one_hot)], dim=1)


@dataclass(frozen=True)
class Conditioning(ABC):
    """What a network is conditioned on."""

    kinds: ClassVar[Mapping[str, type[Conditioning]]]
    needs: ClassVar[frozenset[str]] = frozenset()  # columns of a batch

    @abstractmethod
    def build(self, shape: Shape) -> Joiner:
        """The module that joins the condition to rows. ValueError if the data set lacks what it needs."""


@dataclass(frozen=True)
class Unconditional(Conditioning):
    """No condition."""

    def build(self, shape: Shape) -> Joiner:
        return Joiner()


@dataclass(frozen=True)
class OneHot(Conditioning):
    """The label, as a one-hot vector: Sohn et al. 2015 (NeurIPS)."""

    needs = frozenset({"label"})

    def build(self, shape: Shape) -> Joiner:
        if not shape.classes:
            raise ValueError("classes=0: a conditional model needs a data set with labels, such as data.name=mnist")
        return LabelJoiner(shape.classes)


Conditioning.kinds = {"none": Unconditional, "one_hot": OneHot}
