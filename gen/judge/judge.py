"""The judge of one data set: which measures a model gets, and how their work is spread over workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import torch

from gen.capabilities import (
    Classifies,
    Encodes,
    Imitates,
    ImportanceWeighted,
    Likelihood,
    PredictsCodes,
    Quantises,
    Reconstructs,
    has,
)
from gen.data.dataset import Dataset
from gen.data.stream import rows_of
from gen.distributed.machine import seed
from gen.distributed.workers import ALONE, Workers
from gen.judge.figure import Figure
from gen.judge.labels import Accuracy, CodeNats, Codes
from gen.judge.likelihood import Bound, ImportanceBound, Posterior
from gen.judge.made import Imitation, Reconstruction
from gen.judge.measure import Measure, Scope
from gen.judge.networks.extractors import Extractor, is_teller
from gen.judge.reference import References
from gen.metrics.table import FRECHET, frechet_name, metric
from gen.phase import Model
from gen.results.storage import Storage

MEASURES: tuple[tuple[type, Callable[[Any, Scope], Measure]], ...] = (
    (Likelihood, Bound),
    (Imitates, Imitation),
    (Reconstructs, Reconstruction),
    (Quantises, Codes),
    (Classifies, Accuracy),
    (ImportanceWeighted, ImportanceBound),
    (Encodes, Posterior),
    (PredictsCodes, CodeNats),
)
"""Capability -> its measure. A measure's noise is seeded by its place in this table, so new measures go to the end. A
model is steered by the first figure of its first measure, unless a setting names another."""

Tell = Callable[[str], None]
"""Hears what is being measured, in words."""

NOISE = 0x6A75646765  # the judge's own seed: the same noise at every tick and for every run
MANY = 10_000  # images: so many that no figure is left out for want of images


def silence(text: str) -> None:
    """Tells nobody."""


class Judge:
    """Measures models of one data set. Holds what does not change: the extractor and the real images' statistics.

    `storage`: where these statistics are kept for other processes; None: this process keeps them for itself.
    `teller`: what tells the classes of fakes; None: the extractor, if it is the set's own classifier, or else nothing.
    """

    def __init__(
        self,
        dataset: Dataset,
        extractor: Extractor,
        device: torch.device,
        batch: int,
        storage: Storage | None = None,
        importance: tuple[int, int] = (1_000, 20),
        teller: Extractor | None = None,
    ) -> None:
        self.dataset, self.extractor, self.device, self.batch = dataset, extractor, device, batch
        self.references = References(dataset, extractor, device, batch, storage)
        self.importance = importance  # images and samples an image of the importance-weighted bound
        self.teller = extractor if teller is None and is_teller(extractor, dataset) else teller

    def steers(self, model: Model, images: int = MANY) -> list[str]:
        """The names of the figures that can steer a run of `model`: select its best weights, rank it in a search. The
        default is first. A name that several figures share is not among them ("unit_rate/images", of all units)."""
        bearers = Counter(figure.name for figure in self.plan(model, "validation", images, "raw"))
        return [name for name, count in bearers.items() if count == 1]

    def full_name(self, figure: str) -> str:
        """The name of a figure with this judge's features in it: "frechet/fakes" is "frechet_classifier/fakes", say."""
        kind, sign, rest = figure.partition("/")
        return f"{frechet_name(self.extractor.name)}{sign}{rest}" if kind == FRECHET else figure

    def cheap(self, model: Model) -> list[str]:
        """Names of the figures of `model` that need neither an extractor nor many passes."""
        measures = self._measures(model, "validation", MANY, "raw", None)
        return [figure.name for one in measures for figure in one.planned if metric(figure.metric).cost == "cheap"]

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
        tell: Tell = silence,
    ) -> list[Figure]:
        """Measures `images` images (of real ones at most as many as the split has), spread over the workers.

        `model` is in evaluation mode. `only`: names of the figures wanted; None: all. The noise is the same whatever
        the number of workers, the tick, or what else is measured. `tell` hears what is measured next.
        """
        found: list[Figure] = []
        dtype = next(model.parameters()).dtype
        with torch.no_grad():
            for measure in self._measures(model, split, images, weights, only):
                tell(measure.words)
                measure.begin(self.device)
                for index in range(workers.rank, -(-measure.positions // self.batch), workers.size):
                    start = index * self.batch
                    rows = torch.arange(start, min(start + self.batch, measure.rows))
                    seed(self.device, NOISE, measure.noise, index)
                    measure.add(start, rows_of(self.dataset, split, rows, self.device, dtype, mix=True))
                workers.total(measure.sums())
                found += measure.figures(workers)
        return found

    def _measures(
        self, model: Model, split: str, images: int, weights: str, only: Collection[str] | None
    ) -> list[Measure]:
        scope = Scope(self.dataset, self.references, split, images, weights, *self.importance, self.teller)
        found = list[Measure]()
        for number, (capability, kind) in enumerate(MEASURES):
            if has(model, capability):
                measure = kind(model, scope)
                measure.noise = number
                measure.want(only)
                found.append(measure)
        return [measure for measure in found if measure.planned]
