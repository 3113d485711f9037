"""What a source gives: tables whose images are arrays, made when asked for, or files that nobody has decoded yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Lazy:
    """Images as uint8 (N, C, H, W) that are made a few rows at a time: sets that no memory need hold whole."""

    shape: tuple[int, int, int, int]
    fetch: Callable[[Rows], NDArray[np.uint8]]  # row numbers (n,) -> (n, C, H, W)
    dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Rows) -> NDArray[np.uint8]:
        return self.fetch(rows)


class File(NamedTuple):
    """A file of a folder, an archive or a bucket."""

    name: str  # path below the place, with "/" between its parts
    size: int  # bytes
    stamp: int  # time of change in ns, or the checksum that an archive holds


@dataclass(frozen=True)
class Pictures:
    """A column of image files, still encoded; row i is `files[i]`."""

    place: str  # folder, zip archive, or URI of either
    files: Sequence[File]

    def __len__(self) -> int:
        return len(self.files)


Columns: TypeAlias = Mapping[str, "NDArray[Any] | Lazy | Pictures"]
"""A raw table: images as uint8 (N, C, H, W) or as files, labels as int64 (N,)."""


@dataclass(frozen=True)
class Raw:
    """What a loader gives, before resizing: "train" and, where the source has them, "validation" and "test", each a
    tuple of tables. A split that is missing becomes a seeded part of the training images."""

    splits: Mapping[str, tuple[Columns, ...]]
    classes: int  # 0: no labels
    names: Sequence[str] = ()  # of the classes
    marks: Mapping[str, Sequence[int]] | None = None  # path -> size and time of change, where the source has a place


Loader: TypeAlias = Callable[[Path, bool, Path], Raw]
"""(root, whether it may download into the root, scratch folder) -> raw splits."""


@dataclass(frozen=True)
class Source:
    """An origin of images.

    Loaders import what they read with when they are called: scikit-learn and torchvision take seconds, which every
    process of a search would spend, and a filled cache needs neither.
    """

    load: Loader  # ValueError where the originals are missing or bad
    originals: Sequence[str] = ()  # glob patterns, relative to the root, of the files read; none: needs no folder
    place: str = ""  # folder, zip archive or URI, where the source is named by its place
