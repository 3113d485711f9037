"""What fakes are compared with: statistics of the real images' features, computed once and kept in the storage."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gen.data.dataset import Dataset
from gen.data.stream import scaled
from gen.engine.workers import Workers
from gen.metrics.extractors import Extractor
from gen.metrics.frechet import Reference
from gen.metrics.moments import Moments
from gen.results.storage import Storage

FORMAT = 1  # of the files


class References:
    """The real side of one data set under one extractor. Every worker asks for the same, at once, and does its share."""

    def __init__(
        self, dataset: Dataset, extractor: Extractor, device: torch.device, batch: int, storage: Storage | None
    ) -> None:
        self.dataset, self.extractor, self.device = dataset, extractor, device
        self.batch, self.storage = batch, storage
        self.weights_hash = extractor.weights_hash  # once: it may be computed
        self._kept: dict[tuple[Any, ...], dict[str, Tensor]] = {}

    def moments(self, split: str, column: str, workers: Workers) -> Reference:
        """Mean, covariance and its root of the features of all of a column."""

        def compute() -> dict[str, Tensor]:
            moments = Moments(self.extractor.width, self.device)
            self._each(split, column, self.count(split, column), workers, lambda _, features: moments.add(features))
            workers.total(moments.tensors())
            found = Reference.of(moments.mean(), moments.covariance())
            return {"mean": found.mean, "covariance": found.covariance, "root": found.root}

        return Reference(**self._cached(("moments", split, column), compute, workers))

    def sample(self, split: str, column: str, rows: int, workers: Workers) -> Tensor:
        """Features (rows, D), float32, of the first rows of a column."""

        def compute() -> dict[str, Tensor]:
            kept = torch.zeros(rows, self.extractor.width, device=self.device)

            def keep(start: int, features: Tensor) -> None:
                kept[start : start + len(features)] = features

            self._each(split, column, rows, workers, keep)
            workers.total([kept])
            return {"features": kept.cpu()}

        return self._cached(("sample", split, column, rows), compute, workers)["features"].to(self.device)

    def count(self, split: str, column: str) -> int:
        """Rows of a column."""
        return len(self._column(split, column))

    def _column(self, split: str, column: str) -> Tensor:
        return next(table[column] for table in self.dataset.splits[split] if column in table)

    def _each(
        self, split: str, column: str, rows: int, workers: Workers, use: Callable[[int, Tensor], None]
    ) -> None:
        images = self._column(split, column)
        for index, start in enumerate(range(0, rows, self.batch)):
            if index % workers.size == workers.rank:
                part = scaled(images[start : min(start + self.batch, rows)], self.device, torch.float32)
                use(start, self.extractor.features(part))

    def _cached(
        self, key: tuple[Any, ...], compute: Callable[[], dict[str, Tensor]], workers: Workers
    ) -> dict[str, Tensor]:
        if key not in self._kept:
            path = f"_cache/reference-{self._hash(key)}.pt"
            data = self.storage.get(path) if self.storage else None
            seen = torch.tensor([float(data is not None)], device=self.device)
            workers.total([seen])  # another job may have put it there between two workers' looks
            if data is not None and int(seen) == workers.size:
                self._kept[key] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            else:
                with torch.no_grad():
                    self._kept[key] = compute()
                if self.storage and workers.rank == 0:
                    file = io.BytesIO()
                    torch.save(self._kept[key], file)
                    self.storage.put(path, file.getvalue())
        return self._kept[key]

    def _hash(self, key: tuple[Any, ...]) -> str:
        extractor = self.extractor
        parts = [FORMAT, self.dataset.hash, self.dataset.shape.size, *key]
        parts += [extractor.name, extractor.resize, self.weights_hash]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
