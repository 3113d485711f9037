"""Fakes beside the training images that are nearest to them."""

from __future__ import annotations

import torch
from torch import Tensor

from gen.data.stream import from_uint8
from gen.pictures import files

ROWS = 8  # fakes in each half


def fakes_beside_nearest(fakes: Tensor, real: Tensor, distances: Tensor, caption: str) -> bytes:
    """A PNG file: in each row a fake and, behind a gap, the training images nearest to it. In the left half the first
    fakes, whatever they are like, in the right half those that are nearest to a training image, the nearest first.
    `fakes` (N, C, H, W) and `real` (N, K, C, H, W) are uint8, `distances` (N, K). The caption is text in the file
    alone, so that the pixels are the images'."""
    cpu = torch.device("cpu")
    closest = distances[:, 0].sort(stable=True).indices[:ROWS]
    halves = [torch.arange(min(ROWS, len(fakes))), closest]
    parts = []
    for rows in halves:
        near = from_uint8(real[rows].flatten(0, 1), cpu, torch.float32)
        made = from_uint8(fakes[rows], cpu, torch.float32)
        widest = near if near.shape[1] >= made.shape[1] else made  # a grey fake may stand beside colour
        made, near = (part.expand(-1, widest.shape[1], -1, -1) for part in (made, near))
        parts += [files.tile(made, 1), files.tile(near, real.shape[1])]
    white = parts[0].new_ones(*parts[0].shape[:2], 4)
    return files.png(files.beside([*parts[:2], white, *parts[2:]]), caption, written=False)
