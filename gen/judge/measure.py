"""What all measures share: each makes sums over batches, which are totalled over workers and give its figures."""

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
from gen.judge.networks.extractors import Extractor
from gen.judge.reference import References
from gen.phase import Batch

NAMED = 4  # metrics that are named where one says what is measured


@dataclass(frozen=True)
class Scope:
    """Which images a model is measured on, and how many."""

    dataset: Dataset
    references: References  # of the real images; they hold the extractor
    split: str
    images: int
    weights: str  # raw or ema
    importance_images: int
    importance_samples: int
    teller: Extractor | None = None  # its largest logit tells the class of an image; None: nothing does

    def length(self, column: str) -> int:
        """Rows of a column in the split; 0 if it has none."""
        return self.dataset.count(self.split, column)

    def plan(self, metric: str, subject: str, n_real: int, n_fake: int, **more: Any) -> Figure:
        """A figure to be measured here."""
        return Figure(metric, subject, PLANNED, n_real, n_fake, self.split, self.weights, **more)

    def about_images(self, metrics: Sequence[str], count: int, **more: Any) -> list[Figure]:
        """Figures to be measured of `count` real images themselves."""
        return [self.plan(metric, "images", count, count, **more) for metric in metrics]


class Measure(ABC):
    """Measures one capability of a model, in a walk over positions 0, 1, 2 and so on. A position has one row of every
    table of the split: position i has the i-th row of the table's mixture (`gen.data.stream`), and tables that are
    shorter repeat. Making a measure costs nothing; `begin` takes the memory.
    """

    noise = 0  # seeds the measure's own noise, whatever else is measured; the judge sets it
    rows: int  # how many positions the walk has, if all figures are measured
    planned: list[Figure]  # what it will measure

    def want(self, names: Collection[str] | None) -> None:
        """Leaves out all figures but those of these names; None: all stay."""
        if names is not None:
            self.planned = [figure for figure in self.planned if figure.name in names]

    @property
    def words(self) -> str:
        """What is to be measured, in a few words."""
        metrics = list(dict.fromkeys(figure.metric for figure in self.planned))
        more = f" and {len(metrics) - NAMED} more" if len(metrics) > NAMED else ""
        subject, split = self.planned[0].subject, self.planned[0].split
        return f"{', '.join(metrics[:NAMED])}{more} of {self.positions:,} {subject}, {split}"

    @property
    def positions(self) -> int:
        """How many positions the planned figures need: at most `rows`. The walk ends sooner, with the same batches."""
        return max(figure.n_fake for figure in self.planned)

    @abstractmethod
    def begin(self, device: torch.device) -> None:
        """Makes the sums, which are zero at first."""

    @abstractmethod
    def add(self, start: int, batch: Batch) -> None:
        """Adds a batch, which holds the positions from `start` on, to the sums."""

    @abstractmethod
    def sums(self) -> list[Tensor]:
        """The buffers to total over workers."""

    @abstractmethod
    def values(self, workers: Workers) -> Mapping[str, float]:
        """Name of a figure (its variant, if several figures share the name) -> value, from the totalled sums. All
        workers call it at the same time."""

    def figures(self, workers: Workers) -> list[Figure]:
        """The planned figures with their values."""
        values = self.values(workers)
        keys = [figure.name if figure.name in values else str(figure.variant) for figure in self.planned]
        return [replace(figure, value=values[key]) for figure, key in zip(self.planned, keys, strict=True)]


def first(rows: int, start: int, values: Tensor) -> Tensor:
    """The part of `values` that lies before position `rows`; `values` are at the positions from `start` on."""
    return values[: max(rows - start, 0)]
