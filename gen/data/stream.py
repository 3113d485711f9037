"""Batches as a pure function of (seed, draw number): no loader processes, no state to save."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gen.config import AugmentConfig
from gen.data.augment import Augmenter
from gen.data.columns import is_image
from gen.data.dataset import Dataset, Table
from gen.data.pinned import Courier
from gen.distributed.memory import room

PASSES_KEPT = 2  # permutations kept for each table: a draw may straddle two passes


@functools.lru_cache(maxsize=16)
def mixture(length: int) -> Tensor:
    """A fixed random order (length,) of rows: a table may be sorted by class, and part of it must hold all classes."""
    return torch.from_numpy(np.random.default_rng([0, length]).permutation(length))


def from_uint8(images: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """uint8 images as floats on the device: 0 to 255 become -1 to 1, exactly at both ends. They travel as bytes."""
    moved = images.to(device, non_blocking=True)
    wide = moved.to(torch.float64 if dtype == torch.float64 else torch.float32)
    return wide.sub_(127.5).mul_(1 / 127.5).to(dtype)  # a product is twice as fast as a quotient


def to_uint8(images: Tensor) -> Tensor:
    """The inverse of `from_uint8`: images in [-1, 1] to 0 .. 255, rounded; others are clamped, NaN becomes 0."""
    wide = images.to(torch.float64 if images.dtype == torch.float64 else torch.float32)
    return wide.add(1).mul_(127.5).round_().clamp_(0, 255).nan_to_num_(0).to(torch.uint8)


def on_device(column: str, rows: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Rows of a table's column as a batch has them: images as floats in [-1, 1], other columns as stored."""
    return from_uint8(rows, device, dtype) if is_image(column) else rows.to(device)


def rows_of(
    dataset: Dataset, split: str, numbers: Tensor, device: torch.device, dtype: torch.dtype, mix: bool = False
) -> dict[str, Tensor]:
    """A batch of the rows `numbers` (N,) of a split; a table with fewer rows repeats. `mix`: the numbers count rows of
    each table's `mixture`, for a table may be sorted by class."""
    batch: dict[str, Tensor] = {}
    for table in dataset.splits[split]:
        for name, column in table.items():
            rows = numbers % len(column)
            batch[name] = on_device(name, column[mixture(len(column))[rows] if mix else rows], device, dtype)
    return batch


class Stream:
    """Each table's rows in an endless sequence of passes, each a permutation that (seed, table, pass) alone decide.

    Draw number d holds positions d * draw_size to (d + 1) * draw_size of that sequence: a draw may straddle two passes,
    and no row is left out. An epoch is a pass over the longest table; shorter tables repeat in it. `augment` changes
    images, anew at each position of the sequence.
    """

    def __init__(
        self,
        tables: tuple[Table, ...],
        seed: int,
        draw_size: int,
        device: torch.device,
        dtype: torch.dtype,
        resident: bool | None = None,
        augment: AugmentConfig | None = None,
    ) -> None:
        """`resident`: whether a GPU keeps a copy of all tables; by default if they take less than half of the room that
        this process has there."""
        self.seed, self.draw_size, self.device, self.dtype = seed % 2**64, draw_size, device, dtype
        size = sum(column.nbytes for table in tables for column in table.values())
        if device.type != "cuda":
            resident = False
        elif resident is None:
            resident = size < room(device) / 2
        self.home = device if resident else torch.device("cpu")
        self.tables = [{name: column.to(self.home) for name, column in table.items()} for table in tables]
        self.lengths = [len(next(iter(table.values()))) for table in tables]
        self.length = max(self.lengths)
        self.permutations: OrderedDict[tuple[int, int], Tensor] = OrderedDict()  # by (table, pass)
        self.courier = Courier(self.look_up, device) if device.type == "cuda" and not resident else None
        self.augmenter = Augmenter(augment, self.seed, device) if augment and augment.changes else None

    def rows(self, draw: int, start: int, stop: int) -> dict[str, Tensor]:
        """Rows [start, stop) of draw number `draw` on the device: images as floats in [-1, 1], other columns as stored.

        A pure function of its arguments and the seed, whatever was asked for before.
        """
        if self.courier:
            picked = self.courier.bring(draw, start, stop)
        else:
            picked = {name: column.index_select(0, rows) for name, column, rows in self.look_up(draw, start, stop)}
        batch = {name: on_device(name, column, self.device, self.dtype) for name, column in picked.items()}
        return self.augment(batch, self.augmenter, draw * self.draw_size + start) if self.augmenter else batch

    def augment(self, batch: dict[str, Tensor], augmenter: Augmenter, start: int) -> dict[str, Tensor]:
        """A batch whose rows are at positions from `start` on, its images changed."""
        for index, table in enumerate(self.tables):
            names = [name for name in table if is_image(name)]
            if names:
                changed = augmenter.change([batch[name] for name in names], index, start)
                batch |= zip(names, changed, strict=True)
        return batch

    def look_up(self, draw: int, start: int, stop: int) -> Iterator[tuple[str, Tensor, Tensor]]:
        """For each column its name, itself, and the numbers of those of its rows that are [start, stop) of a draw."""
        first = draw * self.draw_size
        for index, table in enumerate(self.tables):
            rows = self.order(index, first + start, first + stop)
            for name, column in table.items():
                yield name, column, rows

    def order(self, index: int, start: int, stop: int) -> Tensor:
        """Row numbers (stop - start,) at positions [start, stop) of the endless sequence of a table."""
        length, parts = self.lengths[index], []
        while start < stop:
            number, offset = divmod(start, length)
            end = min(stop, (number + 1) * length)
            parts.append(self.permutation(index, number)[offset : offset + end - start])
            start = end
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def permutation(self, index: int, number: int) -> Tensor:
        """Row numbers of a table in the order of pass `number`, on the device that holds the table."""
        key = (index, number)
        if key not in self.permutations:
            generator = np.random.default_rng([self.seed, index, number])
            order = torch.from_numpy(generator.permutation(self.lengths[index]))
            if self.home.type == "cuda":  # pinned, so that the copy waits for nothing
                order = order.pin_memory().to(self.home, non_blocking=True)
            self.permutations[key] = order
            while len(self.permutations) > PASSES_KEPT * len(self.tables):
                self.permutations.popitem(last=False)
        self.permutations.move_to_end(key)
        return self.permutations[key]
