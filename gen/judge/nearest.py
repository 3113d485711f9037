"""Fakes and the training images that are nearest to them, in the judge's features: whether a model has learned its
images by heart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gen.capabilities import Imitates
from gen.data.stream import from_uint8, mixture, rows_of, to_uint8
from gen.distributed.machine import seed
from gen.judge.judge import NOISE, Judge
from gen.judge.made import check_made
from gen.metrics.neighbours import Nearest, nearer

NEAR = 5  # training images that stand beside a fake
IMAGES = 1_000  # fakes, and held-out images, that are compared
ALIKE = {"image": ("image", "unlabelled")}  # column that is imitated -> columns of the images that it was learned from


@dataclass(frozen=True)
class Neighbours:
    """Fakes (N, C, H, W), their nearest training images (N, NEAR, C, H, W), both uint8, and distances in features."""

    fakes: Tensor
    real: Tensor
    distances: Tensor  # (N, NEAR), the smallest first
    held_out: Tensor  # (M,): of held-out images to the nearest training image
    training: int  # images that were looked at

    @property
    def nearer(self) -> float:
        """The chance that a fake is nearer to a training image than a held-out image is. With as many new images as
        there are fakes in place of these it would be 1/2, and what was learned by heart comes near 1."""
        return nearer(self.distances[:, 0], self.held_out)


def nearest_images(judge: Judge, model: Imitates, column: str, images: int = IMAGES, split: str = "test") -> Neighbours:
    """The nearest training images of as many fakes of a column, and how near held-out images are to theirs. `model` is
    in evaluation mode. The same fakes every time; a conditional model is asked for the classes of the split's images.
    ValueError if the split has no image of the column."""
    dataset, device = judge.dataset, judge.device
    count = min(images, dataset.count(split, column))
    if not count:
        raise ValueError(f"data set {dataset.name} has no {split} images of column {column} to compare fakes with")
    parts = range(0, images, judge.batch)
    fakes = torch.cat([made(judge, model, column, start, min(start + judge.batch, images), split) for start in parts])
    held_out = dataset.column(split, column)
    chosen = mixture(len(held_out))[:count]
    with torch.no_grad():
        found = Nearest(in_parts(judge, lambda rows: fakes[rows], len(fakes)), NEAR)
        beside = Nearest(in_parts(judge, lambda rows: held_out[chosen[rows]], count), 1)
        columns = [dataset.column("train", one) for one in ALIKE.get(column, (column,)) if dataset.count("train", one)]
        start = 0
        for training in columns:
            for first in range(0, len(training), judge.batch):
                part = judge.extractor.features(
                    from_uint8(training[first : first + judge.batch], device, torch.float32)
                )
                found.add(start, part)
                beside.add(start, part)
                start += len(part)
    return Neighbours(
        fakes, at_places(columns, found.places.cpu()), found.distances.cpu(), beside.distances[:, 0].cpu(), start
    )


def made(judge: Judge, model: Imitates, column: str, start: int, end: int, split: str) -> Tensor:
    """Fakes (end - start, C, H, W) in 8 bits, as in files."""
    seed(judge.device, NOISE, start)
    dtype = next(model.parameters()).dtype  # type: ignore[attr-defined]  # it is a model too
    batch = rows_of(judge.dataset, split, torch.arange(start, end), judge.device, dtype, mix=True)
    with torch.no_grad():
        found = model.imitate(batch)
    check_made(found, [column], batch, f"{type(model).__name__}.imitate")
    return to_uint8(found[column]).cpu()


def in_parts(judge: Judge, images: Callable[[Tensor], Tensor], count: int) -> Tensor:
    """Features (count, D) of images in 8 bits, of which `images` gives the rows that it is asked for."""
    parts = torch.split(torch.arange(count), judge.batch)
    return torch.cat(
        [judge.extractor.features(from_uint8(images(rows), judge.device, torch.float32)) for rows in parts]
    )


def at_places(columns: list[Tensor], places: Tensor) -> Tensor:
    """The images (N, K, C, H, W) at places (N, K) of columns (M, C, H, W) that stand one after another."""
    found = torch.zeros((*places.shape, *columns[0].shape[1:]), dtype=torch.uint8)
    start = 0
    for images in columns:
        inside = (places >= start) & (places < start + len(images))
        found[inside] = images[places[inside] - start]
        start += len(images)
    return found
