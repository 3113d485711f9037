"""The floor of figures that compare features: what real images reach that are not the reference's own."""

from __future__ import annotations

from dataclasses import replace

import torch

from gen.data.stream import from_uint8, mixture
from gen.distributed.workers import ALONE, Workers
from gen.judge.features import Gathered
from gen.judge.figure import Figure
from gen.judge.judge import Judge
from gen.judge.measure import Scope

OTHER = {"test": "validation", "validation": "test", "train": "validation"}  # split -> whose images stand for fakes


def floor(
    judge: Judge, split: str = "test", images: int = 10_000, column: str = "image", workers: Workers = ALONE
) -> list[Figure]:
    """The figures of real held-out images, in the place of fakes, against the reference of a split: no model does
    better but by chance. They are of at most `images` of another split's, subject "images", weights "real"; a Frechet
    distance depends on how many, so ask for as many as the fakes that they stand beside. ValueError if there are too
    few."""
    dataset, device = judge.dataset, judge.device
    count = min(images, dataset.count(OTHER[split], column))
    scope = Scope(dataset, judge.references, split, count, "real", 0, 0)
    gathered = Gathered(scope, column, "images", count)
    if not (planned := gathered.plan()):
        raise ValueError(f"{count} images of {OTHER[split]} are too few for a floor; it takes 2 or more of each split")
    gathered.begin({figure.metric for figure in planned}, device)
    real = dataset.column(OTHER[split], column)
    with torch.no_grad():
        for start in range(workers.rank * judge.batch, count, workers.size * judge.batch):
            picked = real[mixture(len(real))[start : min(start + judge.batch, count)]]
            gathered.add(start, from_uint8(picked, device, torch.float32))
        workers.total(gathered.sums())
        values = gathered.values(workers)
    return [replace(figure, value=values[figure.metric]) for figure in planned if figure.metric in values]
