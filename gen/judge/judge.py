"""The judge of one data set: which measures a model gets, and how their work is spread over workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import torch
from torch import Tensor

from gen.data.dataset import Dataset
from gen.data.stream import mixed, scaled
from gen.distributed.machine import seed
from gen.distributed.workers import ALONE, Workers
from gen.judge.figure import Figure
from gen.judge.labels import Accuracy, CodeNats, Codes
from gen.judge.likelihood import Bound, ImportanceBound, Posterior
from gen.judge.made import Imitation, Reconstruction, columns
from gen.judge.measure import Measure, Scope
from gen.judge.networks.extractors import Extractor, frechet_name
from gen.judge.reference import References
from gen.phase import (
    Batch,
    Classifies,
    Encodes,
    Imitates,
    ImportanceWeighted,
    Likelihood,
    Model,
    PredictsCodes,
    Quantises,
    Reconstructs,
)
from gen.results.storage import Storage

NOISE = 0x6A75646765  # the judge's own seed: the same noise at every tick and for every run
MANY = 10_000  # images: enough for every figure to have its name


class Judge:
    """Measures models of one data set. Holds what does not change: the extractor and the real images' statistics.

    `storage`: where these statistics are kept for other processes; None: for this one alone.
    """

    def __init__(
        self,
        dataset: Dataset,
        extractor: Extractor,
        device: torch.device,
        batch: int,
        storage: Storage | None = None,
        importance: tuple[int, int] = (1_000, 20),
    ) -> None:
        self.dataset, self.extractor, self.device, self.batch = dataset, extractor, device, batch
        self.references = References(dataset, extractor, device, batch, storage)
        self.importance = importance  # images and samples an image of the importance-weighted bound

    def steers(self, model: Model, images: int = MANY) -> list[str]:
        """The names that one figure of `model` by so many images bears alone, so that runs can be selected and searched
        by it; the one that steers by default first."""
        bearers = Counter(figure.name for figure in self.plan(model, "validation", images, "raw"))
        return [name for name, count in bearers.items() if count == 1]

    def full_name(self, metric: str) -> str:
        """The name of a figure of which `metric` may call "frechet" what depends on the features that are compared."""
        kind, sign, rest = metric.partition("/")
        return f"{frechet_name(self.extractor)}{sign}{rest}" if kind == "frechet" else metric

    def cheap(self, model: Model) -> list[str]:
        """Names of the figures that take no extractor and not many passes."""
        measures = self._measures(model, "validation", MANY, "raw", None)
        return [figure.name for one in measures for figure in one.planned if figure.metric in one.cheap]

    def plan(
        self, model: Model, split: str, images: int, weights: str, only: Collection[str] | None = None
    ) -> list[Figure]:
        """The figures that `figures` would give, without their values: their protocols are known beforehand."""
        return [figure for one in self._measures(model, split, images, weights, only) for figure in one.planned]

    def figures(
        self,
        model: Model,
        split: str,
        images: int,
        weights: str,
        workers: Workers = ALONE,
        only: Collection[str] | None = None,
    ) -> list[Figure]:
        """Measures `images` images (of real ones at most as many as the split has), spread over the workers.

        `model` is in evaluation mode. `only`: names of the figures wanted; None: all. The noise is the same whatever
        the number of workers, the tick, or what else is measured.
        """
        found: list[Figure] = []
        with torch.no_grad():
            for measure in self._measures(model, split, images, weights, only):
                measure.begin(self.device)
                for index in range(workers.rank, -(-measure.needed // self.batch), workers.size):
                    start = index * self.batch
                    rows = torch.arange(start, min(start + self.batch, measure.rows))
                    seed(self.device, NOISE, measure.noise, index)
                    measure.add(start, self._batch(split, rows, model))
                workers.total(measure.sums())
                found += measure.figures(workers)
        return found

    def _measures(
        self, model: Model, split: str, images: int, weights: str, only: Collection[str] | None
    ) -> list[Measure]:
        scope = Scope(self.dataset, self.references, split, images, weights, *self.importance)
        made, found = columns(model, scope), list[Measure]()
        if isinstance(model, Likelihood):
            found.append(Bound(model, scope))
        if isinstance(model, Imitates):
            found.append(Imitation(model, made, scope))
        if isinstance(model, Reconstructs):
            found.append(Reconstruction(model, made, scope))
        if isinstance(model, Quantises):
            found.append(Codes(model, scope))
        if isinstance(model, PredictsCodes):
            found.append(CodeNats(model, scope))
        if isinstance(model, Classifies):
            found.append(Accuracy(model, scope))
        if isinstance(model, ImportanceWeighted):
            found.append(ImportanceBound(model, scope))
        if isinstance(model, Encodes):
            found.append(Posterior(model, scope))
        for measure in found:
            measure.want(only)
        return [measure for measure in found if measure.planned]

    def _batch(self, split: str, rows: Tensor, model: Model) -> Batch:
        dtype = next(model.parameters()).dtype
        batch: dict[str, Tensor] = {}
        for table in self.dataset.splits[split]:
            for name, column in table.items():
                picked = column[mixed(len(column))[rows % len(column)]]
                floating = picked.dtype == torch.uint8
                batch[name] = scaled(picked, self.device, dtype) if floating else picked.to(self.device)
        return batch
