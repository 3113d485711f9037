"""What all measures share: sums over batches that turn into figures once the workers' are totalled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gen.data.dataset import Dataset
from gen.distributed.workers import Workers
from gen.judge.figure import PLANNED, Figure
from gen.judge.reference import References
from gen.phase import Batch


@dataclass(frozen=True)
class Scope:
    """Which images a model is measured on, and how many."""

    dataset: Dataset
    references: References  # holds the extractor
    split: str
    images: int
    weights: str  # raw or ema
    importance_images: int
    importance_samples: int

    def length(self, column: str) -> int:
        """Rows of a column in the split; 0 if it has none."""
        return self.dataset.count(self.split, column)

    def plan(self, metric: str, subject: str, n_real: int, n_fake: int, **more: Any) -> Figure:
        """A figure to be measured here."""
        return Figure(metric, subject, PLANNED, n_real, n_fake, self.split, self.weights, **more)

    def about_images(self, metrics: Sequence[str], count: int, **more: Any) -> list[Figure]:
        """Figures of `count` real images themselves."""
        return [self.plan(metric, "images", count, count, **more) for metric in metrics]


class Measure(ABC):
    """One capability of a model, measured. Making one costs nothing; `begin` takes the memory."""

    noise = 0  # the number of its own stream of noise, whatever else is measured
    rows: int  # how many positions it goes through; position i is row i modulo its length of each table's mixture
    planned: list[Figure]

    def want(self, names: Collection[str] | None) -> None:
        """Leaves out all figures but those of these names; None: all stay."""
        if names is not None:
            self.planned = [figure for figure in self.planned if figure.name in names]

    @property
    def positions(self) -> int:
        """How many of the positions the planned figures need. Their batches stay as they are, and so does the noise."""
        return max(figure.n_fake for figure in self.planned)

    @abstractmethod
    def begin(self, device: torch.device) -> None:
        """Makes the sums, zero."""

    @abstractmethod
    def add(self, start: int, batch: Batch) -> None:
        """Counts the real images at positions `start` and on."""

    @abstractmethod
    def sums(self) -> list[Tensor]:
        """The buffers to total over workers."""

    @abstractmethod
    def values(self, workers: Workers) -> Mapping[str, float]:
        """Figure name, or the variant where one name has several, -> value, from the totalled sums. Every worker calls
        it, at once."""

    def figures(self, workers: Workers) -> list[Figure]:
        """The planned figures with their values."""
        values = self.values(workers)
        keys = [figure.name if figure.name in values else str(figure.variant) for figure in self.planned]
        return [replace(figure, value=values[key]) for figure, key in zip(self.planned, keys, strict=True)]


def first(rows: int, start: int, values: Tensor) -> Tensor:
    """Those of `values`, at positions `start` and on, that lie before position `rows`."""
    return values[: max(rows - start, 0)]
