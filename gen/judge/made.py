"""Measures of the images that a model makes: fakes, translations, reconstructions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gen.distributed.workers import Workers
from gen.judge.features import Gathered
from gen.judge.measure import Measure, Scope, first
from gen.metrics.quality import signal_to_noise, similarity, squared_error
from gen.phase import Batch, Conditional, Imitates, Model, Reconstructs, Translates

ERRORS = {"mse": squared_error, "psnr": signal_to_noise, "ssim": similarity}  # of (images, reconstructions) -> (N,)
SMALLEST = 6  # pixels a side that ssim needs


def columns(model: Model, scope: Scope) -> list[str]:
    """Those columns that the model makes and the data set has."""
    return [column for column in model.columns if scope.length(column)]


class Imitation(Measure):
    """The model's own images, by their features: as many as are asked for, or one a held-out source of a translation.

    A conditional model is asked for all classes alike: label = position % classes.
    """

    noise = 1

    def __init__(self, model: Imitates, made: list[str], scope: Scope) -> None:
        self.model = model
        sources = model.sources if isinstance(model, Translates) else {}
        subject = "translations" if sources else "fakes"
        self.parts = []
        for column in made:
            rows = min(scope.images, scope.length(sources[column])) if sources else scope.images
            self.parts.append(Gathered(scope, column, subject, rows))
        self.rows = max((part.rows for part in self.parts), default=0)
        self.planned = [figure for part in self.parts for figure in part.planned()]

    def begin(self, device: torch.device) -> None:
        for part in self.parts:
            part.begin({figure.metric for figure in self.planned if figure.column == part.column}, device)

    def add(self, start: int, batch: Batch) -> None:
        if isinstance(self.model, Conditional):
            like = next(iter(batch.values()))
            positions = torch.arange(start, start + len(like), device=like.device)
            batch = {**batch, "label": positions % self.model.classes}
        fakes = self.model.imitate(batch)
        for part in self.parts:
            part.add(start, fakes[part.column])

    def sums(self) -> list[Tensor]:
        return [tensor for part in self.parts for tensor in part.sums()]

    def values(self, workers: Workers) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for part in self.parts:
            values = part.values(workers)
            mine = [figure for figure in self.planned if figure.column == part.column]
            found |= {figure.name: values[figure.metric] for figure in mine}
        return found


class Reconstruction(Measure):
    """Errors of reconstructions, image by image, and the Frechet distance of all of them."""

    cheap = ("mse",)
    noise = 2

    def __init__(self, model: Reconstructs, made: list[str], scope: Scope) -> None:
        self.model, self.planned = model, []
        self.parts = [
            Gathered(scope, column, "reconstructions", min(scope.images, scope.length(column))) for column in made
        ]
        self.rows = max((part.rows for part in self.parts), default=0)
        for part in self.parts:
            errors = [metric for metric in ERRORS if metric != "ssim" or scope.dataset.shape.size >= SMALLEST]
            about = (part.subject, part.rows, part.rows)
            self.planned += [scope.planned(metric, *about, column=part.column) for metric in errors]
            self.planned += [figure for figure in part.planned() if figure.metric == part.frechet]

    def begin(self, device: torch.device) -> None:
        self.errors = {}
        for part in self.parts:
            wanted = {figure.metric for figure in self.planned if figure.column == part.column}
            part.begin(wanted, device)
            self.errors[part.column] = {
                metric: torch.zeros((), dtype=torch.float64, device=device) for metric in ERRORS if metric in wanted
            }

    def add(self, start: int, batch: Batch) -> None:
        made = self.model.reconstruct(batch)
        for part in self.parts:
            part.add(start, made[part.column])
            images = first(part.rows, start, batch[part.column])
            if len(images):
                for metric, total in self.errors[part.column].items():
                    total += ERRORS[metric](images, first(part.rows, start, made[part.column])).sum()

    def sums(self) -> list[Tensor]:
        totals = [total for part in self.parts for total in self.errors[part.column].values()]
        return totals + [tensor for part in self.parts for tensor in part.sums()]

    def values(self, workers: Workers) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for part in self.parts:
            values = {metric: float(total) / part.rows for metric, total in self.errors[part.column].items()}
            values |= part.values(workers)
            mine = [figure for figure in self.planned if figure.column == part.column]
            found |= {figure.name: values[figure.metric] for figure in mine}
        return found
