"""What is kept of made images' features while they stream by, and the figures that come of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from gen.data.stream import scaled, to_uint8
from gen.engine.judge.figure import Figure
from gen.engine.judge.measure import Scope, first
from gen.engine.workers import Workers
from gen.metrics.extractors import frechet_name
from gen.metrics.moments import Moments


class Gathered:
    """The features of one column of made images: their moments, and the first of them where a metric needs them all.

    Metrics of samples compare as many fakes as there are real images, and no more: they are defined for equal numbers.
    """

    def __init__(self, scope: Scope, column: str, subject: str, rows: int) -> None:
        self.scope, self.column, self.subject, self.rows = scope, column, subject, rows
        self.extractor = scope.references.extractor
        self.n_real = scope.length(column)

    def planned(self) -> list[Figure]:
        """All figures of these features."""
        about = {
            "column": self.column,
            "features": self.extractor.name,
            "features_hash": self.scope.references.weights_hash,
            "resize": self.extractor.resize,
        }
        few = {"deficient": True} if self.rows < self.extractor.width else {}
        return [
            self.scope.planned(frechet_name(self.extractor), self.subject, self.n_real, self.rows, **about, **few)
        ]

    def begin(self, metrics: Collection[str], device: torch.device) -> None:
        """Makes the sums that these metrics need."""
        self.moments = Moments(self.extractor.width, device) if frechet_name(self.extractor) in metrics else None

    def add(self, start: int, images: Tensor) -> None:
        """Counts made images (N, C, H, W) in [-1, 1] at positions `start` and on, as a file of 8 bits would hold
        them."""
        images = first(self.rows, start, images)
        if not len(images) or not self.sums():
            return
        rounded = scaled(to_uint8(images), images.device, torch.float32)
        features = self.extractor.features(rounded)
        if self.moments:
            self.moments.add(features)

    def sums(self) -> list[Tensor]:
        """The buffers to total over workers."""
        return [*(self.moments.tensors() if self.moments else ())]

    def values(self, workers: Workers) -> Mapping[str, float]:
        """Metric -> value."""
        found: dict[str, float] = {}
        if self.moments:
            reference = self.scope.references.moments(self.scope.split, self.column, workers)
            found[frechet_name(self.extractor)] = reference.distance(self.moments.mean(), self.moments.covariance())
        return found
