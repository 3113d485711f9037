"""Measures of the images that a model makes: fakes, translations, reconstructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gen.capabilities import Conditional, Imitates, Reconstructs, Translates, has
from gen.distributed.workers import Workers
from gen.judge.features import Gathered
from gen.judge.measure import Measure, Scope, first
from gen.metrics.quality import signal_to_noise, similarity, squared_error
from gen.phase import Batch

ERRORS = {"mse": squared_error, "psnr": signal_to_noise, "ssim": similarity}  # of (images, reconstructions) -> (N,)
SMALLEST = 6  # pixels a side of the smallest images that ssim takes


def check_made(made: Mapping[str, Tensor], columns: Sequence[str], batch: Batch, maker: str) -> None:
    """ValueError unless `made`, by the method that `maker` names, has an image of each of these columns for every row
    of the batch: fewer or more would be measured as if they lay elsewhere."""
    rows = len(next(iter(batch.values())))
    for column in columns:
        if column not in made:
            raise ValueError(f"{maker} made {', '.join(made) or 'nothing'}; wanted: {column} too, as its class says")
        if len(made[column]) != rows:
            raise ValueError(
                f"{maker} made {len(made[column])} images of column {column} for a batch of {rows} rows; allowed: one "
                "a row, as gen/capabilities.py says"
            )


class Imitation(Measure):
    """Images that the model makes, measured by their features: as many as are asked for; translations, one for each
    held-out source.

    A conditional model is asked for the classes of the split's images, in their proportions.
    """

    def __init__(self, model: Imitates, scope: Scope) -> None:
        self.model = model
        sources = model.sources if has(model, Translates) else {}
        subject = "translations" if sources else "fakes"
        labels = "split" if has(model, Conditional) else None
        self.parts = []
        for column in filter(scope.length, model.imitated):
            rows = min(scope.images, scope.length(sources[column])) if sources else scope.images
            self.parts.append(Gathered(scope, column, subject, rows, labels))
        self.rows = max((part.rows for part in self.parts), default=0)
        self.planned = [figure for part in self.parts for figure in part.plan()]

    def begin(self, device: torch.device) -> None:
        for part in self.parts:
            part.begin({figure.metric for figure in self.planned if figure.column == part.column}, device)

    def add(self, start: int, batch: Batch) -> None:
        fakes = self.model.imitate(batch)
        check_made(fakes, [part.column for part in self.parts], batch, f"{type(self.model).__name__}.imitate")
        for part in self.parts:
            part.add(start, fakes[part.column], batch["label"] if part.labels else None)

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
    """Errors of reconstructions, image by image, and the Frechet distance between all of them and all images."""

    def __init__(self, model: Reconstructs, scope: Scope) -> None:
        self.model, self.planned = model, []
        self.parts = [
            Gathered(scope, column, "reconstructions", min(scope.images, scope.length(column)))
            for column in filter(scope.length, model.reconstructed)
        ]
        self.rows = max((part.rows for part in self.parts), default=0)
        for part in self.parts:
            errors = [metric for metric in ERRORS if metric != "ssim" or scope.dataset.shape.size >= SMALLEST]
            about = (part.subject, part.rows, part.rows)
            self.planned += [scope.plan(metric, *about, column=part.column) for metric in errors]
            self.planned += [figure for figure in part.plan() if figure.metric == part.frechet]

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
        check_made(made, [part.column for part in self.parts], batch, f"{type(self.model).__name__}.reconstruct")
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
