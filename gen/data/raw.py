"""What a source gives: tables whose images are arrays, arrays made on demand, or files that are still encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Lazy:
    """Images as uint8 (N, C, H, W) that are made a few rows at a time, so that memory need not hold the whole set."""

    shape: tuple[int, int, int, int]
    fetch: Callable[[Rows], NDArray[np.uint8]]  # row numbers (n,) -> (n, C, H, W)
    dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Rows) -> NDArray[np.uint8]:
        return self.fetch(rows)


class Aside(NamedTuple):
    """Files of a place that are left out for one reason."""

    number: int
    such_as: str  # the name of one


class File(NamedTuple):
    """A file of a folder, an archive or a bucket."""

    name: str  # path below the place, with "/" between its parts
    size: int  # bytes
    stamp: int  # time of change in ns, or the checksum that an archive holds


@dataclass(frozen=True)
class Pictures:
    """A column of image files, still encoded; row i is `files[i]`."""

    place: str  # folder, archive, or URI of either
    files: Sequence[File]
    shown: str = ""  # the place for messages, if another: what the user named and was unpacked

    def __len__(self) -> int:
        return len(self.files)


Columns: TypeAlias = Mapping[str, "NDArray[Any] | Lazy | Pictures"]
"""A raw table: images as uint8 (N, C, H, W) or as files, labels as int64 (N,)."""


@dataclass(frozen=True)
class Raw:
    """What a loader gives, before resizing: "train" and, where the source has them, "validation" and "test", each a
    tuple of tables. A split that the source lacks is cut from the training images later."""

    splits: Mapping[str, tuple[Columns, ...]]
    classes: int  # 0: no labels
    names: Sequence[str] = ()  # of the classes
    marks: Mapping[str, Sequence[int]] | None = None  # of the source's place, as `places.list_files` gives them
    listing: str = ""  # a digest of all files of the source's place: tells of those that were overwritten
    aside: Mapping[str, Aside] = field(default_factory=dict)  # why files are no part of the set -> which
    told: str = ""  # the file that tells the classes, where no folders do


Loader: TypeAlias = Callable[[Path, bool, Path], Raw]
"""(root, whether it may download into the root, scratch folder) -> raw splits."""


@dataclass(frozen=True)
class Source:
    """An origin of images.

    A loader imports the libraries that it reads with only when it is called: scikit-learn and torchvision take seconds,
    and a process that finds the cache filled needs neither.
    """

    load: Loader  # ValueError where the originals are missing or bad
    originals: Sequence[str] = ()  # glob patterns, relative to the root, of the files that `load` reads
    place: str = ""  # folder, zip archive or URI of a source that is named by its place
