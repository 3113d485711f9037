"""What is measured of a model, cheaply at each tick and in full at the end: one measure a capability."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from gen.data.dataset import Dataset
from gen.data.stream import scaled, to_uint8
from gen.engine.machine import seed
from gen.engine.workers import ALONE, Workers
from gen.metrics import classifier as classifiers
from gen.metrics.classifier import Classifier
from gen.metrics.frechet import Reference
from gen.metrics.moments import Moments
from gen.metrics.quality import perplexity, share_used, squared_error
from gen.phase import Batch, Imitates, Likelihood, Model, Quantises, Reconstructs
from gen.results.storage import Storage

NOISE = 0x6A75646765  # the judge's own seed: the same noise at every tick and for every run


@dataclass(frozen=True)
class Figure:
    """One measured number with its protocol: figures of different protocols are never ranked together."""

    metric: str
    subject: str  # fakes, reconstructions, translations, or images: the real ones themselves
    value: float
    n_real: int
    n_fake: int  # images of the subject
    split: str
    weights: str  # raw or ema
    column: str = "image"
    features: str | None = None  # extractor
    features_hash: str | None = None
    resize: str | None = None  # how images were brought to the extractor's size

    @property
    def name(self) -> str:
        """What settings and the scheduler call it: "frechet_classifier/fakes"."""
        return f"{self.metric}/{self.subject}" + ("" if self.column == "image" else f"/{self.column}")

    def row(self) -> dict[str, Any]:
        """Its columns in `evals`."""
        columns = asdict(self)
        protocol = {key: value for key, value in columns.items() if key != "value"}
        text = json.dumps(protocol, sort_keys=True)
        return {**columns, "protocol": hashlib.sha256(text.encode()).hexdigest()[:16]}


class Judge:
    """Measures models of one data set. Holds what does not change: the extractor and the real images' statistics."""

    def __init__(self, dataset: Dataset, classifier: Classifier | None, device: torch.device, batch: int) -> None:
        self.dataset, self.classifier, self.device, self.batch = dataset, classifier, device, batch
        self.features_hash = classifiers.weights_hash(classifier) if classifier else None
        self._references: dict[str, tuple[Reference, int]] = {}

    def names(self, model: Model) -> list[str]:
        """Names of the figures that `figures` gives for `model`, the one that steers by default first."""
        return [name for measure in self._measures(model, "validation") for name in measure.names]

    def figures(self, model: Model, split: str, images: int, weights: str, workers: Workers = ALONE) -> list[Figure]:
        """Measures `images` images (of real ones at most as many as the split has), spread over the workers.

        `model` is in evaluation mode. The noise is the same whatever the number of workers or the tick.
        """
        length = self._length(split)
        found: list[Figure] = []
        with torch.no_grad():
            for number, measure in enumerate(self._measures(model, split)):
                count = images if measure.endless else min(images, length)
                for index, rows in enumerate(self._rows(count)):
                    if index % workers.size == workers.rank:
                        seed(self.device, NOISE, number, index)
                        measure.add(self._batch(split, rows % length, model))
                workers.total(measure.sums())
                found += [Figure(split=split, weights=weights, **figure) for figure in measure.figures(count)]
        return found

    def reference(self, split: str) -> tuple[Reference, int]:
        """Statistics of the real images' features, all of the split's, and their number. Computed once."""
        if split not in self._references:
            moments = Moments(self.width, self.device)
            with torch.no_grad():
                for rows in self._rows(self._length(split)):
                    images = self.dataset.splits[split][0]["image"][rows]
                    moments.add(self.features(scaled(images, self.device, torch.float32)))
            reference = Reference.of(moments.mean(), moments.covariance())
            self._references[split] = (reference, moments.count)
        return self._references[split]

    @property
    def width(self) -> int:
        """Dimensions of the features."""
        return classifiers.WIDTH

    def features(self, images: Tensor) -> Tensor:
        """Features (N, D) of images (N, C, H, W) in [-1, 1]."""
        assert self.classifier is not None
        return self.classifier.features(images)

    def rounded(self, images: Tensor) -> Tensor:
        """Images as a file of 8 bits would hold them, again in [-1, 1]."""
        return scaled(to_uint8(images), self.device, torch.float32)

    def _measures(self, model: Model, split: str) -> list[Measure]:
        found: list[Measure] = []
        if isinstance(model, Likelihood):
            found.append(Bound(model, self.device))
        if isinstance(model, Imitates) and self.classifier:
            found.append(Imitation(model, self, split))
        if isinstance(model, Reconstructs):
            found.append(Reconstruction(model, self, split))
        if isinstance(model, Quantises):
            found.append(Codes(model, self.device))
        return found

    def _length(self, split: str) -> int:
        return max(len(next(iter(table.values()))) for table in self.dataset.splits[split])

    def _rows(self, count: int) -> Iterator[Tensor]:
        for start in range(0, count, self.batch):
            yield torch.arange(start, min(start + self.batch, count))

    def _batch(self, split: str, rows: Tensor, model: Model) -> Batch:
        dtype = next(model.parameters()).dtype
        batch: dict[str, Tensor] = {}
        for table in self.dataset.splits[split]:
            for name, column in table.items():
                picked = column[rows % len(column)]
                floating = picked.dtype == torch.uint8
                batch[name] = scaled(picked, self.device, dtype) if floating else picked.to(self.device)
        return batch


class Measure(ABC):
    """Sums over batches that turn into figures once the workers' are totalled."""

    names: Sequence[str]
    endless = False  # it makes images of its own, so their number is not bounded by the real ones

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Counts a batch of real images."""

    @abstractmethod
    def sums(self) -> list[Tensor]:
        """The buffers to total over workers."""

    @abstractmethod
    def figures(self, count: int) -> list[dict[str, Any]]:
        """Columns of `Figure` after `count` images."""


class Bound(Measure):
    """The negative evidence lower bound and its two terms, nats an image."""

    names = ("bound/images", "distortion/images", "rate/images")

    def __init__(self, model: Likelihood, device: torch.device) -> None:
        self.model = model
        self.total = torch.zeros(2, dtype=torch.float64, device=device)  # distortion, rate

    def add(self, batch: Batch) -> None:
        terms = self.model.bound_terms(batch)
        self.total += torch.stack([terms["distortion"].double().sum(), terms["rate"].double().sum()])

    def sums(self) -> list[Tensor]:
        return [self.total]

    def figures(self, count: int) -> list[dict[str, Any]]:
        distortion, rate = (self.total / count).tolist()
        values = {"bound": distortion + rate, "distortion": distortion, "rate": rate}
        return [_about_images(metric, value, count) for metric, value in values.items()]


class Imitation(Measure):
    """Frechet distance of the model's own images in the features of a classifier of the set itself; not FID."""

    names = ("frechet_classifier/fakes",)
    endless = True

    def __init__(self, model: Imitates, judge: Judge, split: str) -> None:
        self.model, self.judge, self.split = model, judge, split
        self.moments = Moments(judge.width, judge.device)

    def add(self, batch: Batch) -> None:
        self.moments.add(self.judge.features(self.judge.rounded(self.model.imitate(batch)["image"])))

    def sums(self) -> list[Tensor]:
        return list(self.moments.tensors())

    def figures(self, count: int) -> list[dict[str, Any]]:
        return [_distance(self.judge, self.split, self.moments, "fakes")]


class Reconstruction(Measure):
    """Error of reconstructions and, where there is a classifier, their Frechet distance."""

    def __init__(self, model: Reconstructs, judge: Judge, split: str) -> None:
        self.model, self.judge, self.split = model, judge, split
        self.moments = Moments(judge.width, judge.device) if judge.classifier else None
        self.total = torch.zeros(1, dtype=torch.float64, device=judge.device)
        frechet = ["frechet_classifier/reconstructions"] if judge.classifier else []
        self.names = ["mse/reconstructions", *frechet]

    def add(self, batch: Batch) -> None:
        made = self.model.reconstruct(batch)["image"]
        self.total += squared_error(batch["image"], made).sum()
        if self.moments:
            self.moments.add(self.judge.features(self.judge.rounded(made)))

    def sums(self) -> list[Tensor]:
        return [self.total, *(self.moments.tensors() if self.moments else ())]

    def figures(self, count: int) -> list[dict[str, Any]]:
        error = {**_about_images("mse", float(self.total) / count, count), "subject": "reconstructions"}
        if self.moments is None:
            return [error]
        return [error, _distance(self.judge, self.split, self.moments, "reconstructions")]


class Codes(Measure):
    """Perplexity and share of the codes used over all images together."""

    names = ("perplexity/images", "used/images")

    def __init__(self, model: Quantises, device: torch.device) -> None:
        self.model = model
        self.counts = torch.zeros(model.codebook_size, dtype=torch.int64, device=device)

    def add(self, batch: Batch) -> None:
        self.counts += torch.bincount(self.model.codes(batch).flatten(), minlength=len(self.counts))

    def sums(self) -> list[Tensor]:
        return [self.counts]

    def figures(self, count: int) -> list[dict[str, Any]]:
        values = {"perplexity": perplexity(self.counts), "used": share_used(self.counts)}
        return [_about_images(metric, value, count) for metric, value in values.items()]


def shared_classifier(
    dataset: Dataset, storage: Storage | None, device: torch.device, workers: Workers = ALONE
) -> Classifier | None:
    """The classifier of `dataset`, trained once and kept in the storage under the hash of data and recipe, so that
    all runs there are judged by the same weights. None for a set without labels."""
    if not dataset.shape.classes:
        return None
    path = f"_cache/classifier-{dataset.hash}-{classifiers.recipe_hash(dataset.shape)}.pt"
    if storage is None:  # nobody to share with: the recipe gives every worker the same
        return classifiers.train_classifier(dataset, device)
    data = storage.get(path)
    if data is None and workers.rank == 0:
        data = classifiers.to_bytes(classifiers.train_classifier(dataset, device))
        storage.put(path, data)
    workers.wait(device)
    data = data or storage.get(path)
    if data is None:
        raise RuntimeError(f"{storage.place}/{path} was written by rank 0 and cannot be read by rank {workers.rank}")
    return classifiers.from_bytes(data, device)


def _distance(judge: Judge, split: str, moments: Moments, subject: str) -> dict[str, Any]:
    reference, n_real = judge.reference(split)
    return {
        "metric": "frechet_classifier",
        "subject": subject,
        "value": reference.distance(moments.mean(), moments.covariance()),
        "n_real": n_real,
        "n_fake": moments.count,
        "features": "classifier",
        "features_hash": judge.features_hash,
        "resize": "none",
    }


def _about_images(metric: str, value: float, count: int) -> dict[str, Any]:
    return {"metric": metric, "subject": "images", "value": value, "n_real": count, "n_fake": count}
