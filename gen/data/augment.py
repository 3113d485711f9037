"""Random windows and mirror images of training images, as CycleGAN takes them: Zhu et al. 2017,
https://arxiv.org/abs/1703.10593.

Deviations from the paper:
1. The paper resizes each photograph to 286 pixels and crops 256. Here images are stored at the size that networks see,
   and enlarged on the device, bilinearly, before the crop: a window is a little softer than one of the photograph.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen.config import AugmentConfig

TAG = 0x63726F70  # sets the numbers of this file apart from the orders of the passes, which the same seed decides


class Augmenter:
    """Changes training images. What happens to a row is a function of (seed, table, position in the table's endless
    sequence) alone, so whoever draws the row, whenever and in whatever slice, sees the same bits."""

    def __init__(self, config: AugmentConfig, seed: int, device: torch.device) -> None:
        self.config, self.seed, self.device = config, seed, device

    def change(self, images: list[Tensor], table: int, start: int) -> list[Tensor]:
        """Columns of images (N, C, S, S) of a table, changed; row i of each is at position `start` + i. The columns of
        one row are changed alike."""
        count, side = images[0].shape[0], images[0].shape[-1]
        large = side + round(side * self.config.margin)
        chosen = torch.from_numpy(choose(self.seed, table, start, count, large - side))
        if self.device.type == "cuda":  # pinned, so that the copy waits for nothing
            chosen = chosen.pin_memory()
        down, right, turned = chosen.to(self.device, non_blocking=True)  # (N,) each
        mirrored = turned.bool() & self.config.flip
        if large == side:
            return [torch.where(mirrored.view(-1, 1, 1, 1), column.flip(3), column) for column in images]
        return [window(column, large, down, right, mirrored) for column in images]


def choose(seed: int, table: int, start: int, count: int, most: int) -> NDArray[np.int64]:
    """For each of the positions `start` to `start` + `count` of a table: how far down and how far right its window
    lies, 0 to `most`, and whether it is mirrored, 0 or 1; (3, count).

    Philox is a counter in a cipher: block p of its numbers comes from the key and p, without those before it."""
    key = np.random.SeedSequence([seed, table, 0, TAG]).generate_state(2, np.uint64)
    raw = np.random.Philox(key=key, counter=start).random_raw(4 * count).reshape(count, 4)[:, :3]
    return (raw % np.array([most + 1, most + 1, 2], np.uint64)).astype(np.int64).T.copy()


def window(images: Tensor, large: int, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    """Windows (N, C, S, S) of images (N, C, S, S), which are first enlarged to `large` pixels a side. `down` and
    `right` (N,) are the places of the windows' upper left corners; `mirrored` (N,) tells which are then mirrored."""
    side = images.shape[-1]
    steps = torch.arange(side, device=images.device)
    columns = torch.where(mirrored[:, None], steps.flip(0), steps)  # (N, S)
    tall = blend(images, down[:, None] + steps, 2, side / large)
    return blend(tall, right[:, None] + columns, 3, side / large)


def blend(images: Tensor, places: Tensor, axis: int, scale: float) -> Tensor:
    """The lines at `places` (N, P) along an axis of images (N, C, H, W), once this axis is 1 / `scale` times as long:
    each is a mean of the two old lines beside it, weighed by their nearness, as `interpolate(align_corners=False)` has
    it. Only products and sums of two numbers, so that all slices, and all devices, give the same bits."""
    last = images.shape[axis] - 1
    middle = ((places + 0.5).double() * scale - 0.5).clamp(0, last)  # of the new line, in old ones
    before = middle.floor()
    weight = spread((middle - before).to(images.dtype), axis)
    first, second = (
        torch.take_along_dim(images, spread(line.clamp(max=last), axis), axis)
        for line in (before.long(), before.long() + 1)
    )
    return first + (second - first) * weight


def spread(lines: Tensor, axis: int) -> Tensor:
    """Numbers of lines (N, P) along an axis, in the shape of images."""
    return lines[:, None, :, None] if axis == 2 else lines[:, None, None, :]
