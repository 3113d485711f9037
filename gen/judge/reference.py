"""What fakes are compared with: statistics of the real images' features, computed once and kept in the storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from gen.damage import DamageError, remark
from gen.data.dataset import Dataset
from gen.data.stream import from_uint8, mixture
from gen.distributed.workers import Workers
from gen.judge.networks.extractors import Extractor
from gen.metrics.frechet import Reference
from gen.metrics.moments import Moments
from gen.results.storage import Storage
from gen.tensors import from_bytes, reading, to_bytes

FORMAT = 3  # version of the files that hold them
Kept = TypeVar("Kept")


class References:
    """Statistics of one data set's real images under one extractor. All workers ask at once, and share the work."""

    def __init__(
        self, dataset: Dataset, extractor: Extractor, device: torch.device, batch: int, storage: Storage | None
    ) -> None:
        self.dataset, self.extractor, self.device = dataset, extractor, device
        self.batch, self.storage = batch, storage
        self.weights_hash = extractor.weights_hash  # asked once, for it may have to be computed
        self._kept: dict[tuple[Any, ...], Any] = {}

    def moments(self, split: str, column: str, workers: Workers) -> Reference:
        """Mean, covariance and the covariance's root, of the features of all images of a column."""

        def compute() -> Reference:
            moments = Moments(self.extractor.width, self.device)
            self._each(split, column, self.count(split, column), workers, lambda _, features: moments.add(features))
            workers.total(moments.tensors())
            return Reference.of(moments.mean(), moments.covariance())

        key = ("moments", split, column)
        return self._cached(key, compute, Reference.to_bytes, Reference.from_bytes, workers)

    def sample(self, split: str, column: str, rows: int, workers: Workers) -> Tensor:
        """Features (rows, D), float32, of the first rows of a column."""

        def compute() -> Tensor:
            kept = torch.zeros(rows, self.extractor.width, device=self.device)

            def keep(start: int, features: Tensor) -> None:
                kept[start : start + len(features)] = features

            self._each(split, column, rows, workers, keep)
            workers.total([kept])
            return kept.cpu()

        features: Tensor = self._cached(
            ("sample", split, column, rows), compute, to_bytes, features_from_bytes, workers
        )
        return features.to(self.device)

    def count(self, split: str, column: str) -> int:
        """Rows of a column."""
        return self.dataset.count(split, column)

    def _each(self, split: str, column: str, rows: int, workers: Workers, use: Callable[[int, Tensor], None]) -> None:
        images = self.dataset.column(split, column)
        for index, start in enumerate(range(0, rows, self.batch)):
            if index % workers.size == workers.rank:
                picked = images[mixture(len(images))[start : min(start + self.batch, rows)]]
                use(start, self.extractor.features(from_uint8(picked, self.device, torch.float32)))

    def _cached(
        self,
        key: tuple[Any, ...],
        compute: Callable[[], Kept],
        to_bytes: Callable[[Kept], bytes],
        from_bytes: Callable[[bytes], Kept],
        workers: Workers,
    ) -> Kept:
        if key not in self._kept:
            path = f"_cache/reference-{self._hash(key)}.pt"
            data = self.storage.get(path) if self.storage else None
            stored = read_or_remark(data, from_bytes, f"{self.storage}/{path}") if data is not None else None
            seen = torch.tensor([float(stored is not None)], device=self.device)
            workers.total([seen])  # another job may have put it there between two workers' looks
            if stored is not None and int(seen) == workers.size:
                self._kept[key] = stored
            else:
                with torch.no_grad():
                    self._kept[key] = compute()
                if self.storage and workers.rank == 0:
                    self.storage.put(path, to_bytes(self._kept[key]))
        found: Kept = self._kept[key]
        return found

    def _hash(self, key: tuple[Any, ...]) -> str:
        extractor = self.extractor
        parts = [FORMAT, self.dataset.hash, self.dataset.shape.size, *key]
        parts += [extractor.name, extractor.resize, self.weights_hash]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def read_or_remark(data: bytes, from_bytes: Callable[[bytes], Kept], where: str) -> Kept | None:
    """What `from_bytes` makes of stored data. None, with a remark that names the place, if they are damaged: whoever
    asked makes it anew."""
    try:
        return from_bytes(data)
    except DamageError:
        remark(f"{where} was damaged, and is made anew")
        return None


def features_from_bytes(data: bytes) -> Tensor:
    """Features that `to_bytes` stored. DamageError if the bytes are damaged."""
    with reading("the stored features are damaged; delete _cache, and they are computed anew"):
        features = from_bytes(data)
        if not isinstance(features, Tensor) or features.dim() != 2:
            raise DamageError(f"they are a {type(features).__name__}")
        return features
