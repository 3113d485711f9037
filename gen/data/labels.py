"""Semi-supervised sets: a few training images keep their labels, balanced over the classes; the rest lose them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen.data.cache import CHUNK, create_array, describe_arrays, file_name


def choose_rows(labels: NDArray[np.int64], classes: int, count: int, seed: int) -> NDArray[np.int64]:
    """Sorted numbers of the `count` rows that keep their labels: equally many of each class, or one more of some.

    A function of its arguments alone. ValueError if a class has too few images, or too few would lose their labels.
    """
    if not classes <= count <= len(labels) - 2:
        raise ValueError(
            f"labels={count} is not allowed: of {len(labels)} training images of {classes} classes "
            f"{classes} to {len(labels) - 2} may keep their labels"
        )
    rng = np.random.default_rng(seed)
    shares = np.full(classes, count // classes)
    shares[rng.permutation(classes)[: count % classes]] += 1
    found = []
    for label, share in enumerate(shares):
        rows = np.flatnonzero(labels == label)
        if len(rows) < share:
            raise ValueError(f"labels={count} needs {share} images of class {label}, which has {len(rows)}; lower it")
        found.append(rng.permutation(rows)[:share])
    return np.sort(np.concatenate(found))


def fill(folder: Path, splits: Any, classes: int, count: int, seed: int) -> dict[str, Any]:
    """Writes the columns of a set into the folder, with labels for `count` of its training images; gives what the
    manifest says of them.

    Every split has the tables {image, label} and {unlabelled}. In validation and test all images are in both
    tables: one file, mapped twice. ValueError as for `choose_rows`.
    """
    written: dict[str, list[dict[str, NDArray[Any]]]] = {}
    for split, tables in splits.items():
        (columns,) = ({name: column.numpy() for name, column in table.items()} for table in tables)
        rows = np.arange(len(columns["label"]))
        if split == "train":
            rows = choose_rows(columns["label"], classes, count, seed)
        few = {name: write_rows(folder / file_name(split, 0, name), column, rows) for name, column in columns.items()}
        rest = few["image"]
        if split == "train":
            others = np.setdiff1d(np.arange(len(columns["label"])), rows)
            rest = write_rows(folder / file_name(split, 1, "unlabelled"), columns["image"], others)
        written[split] = [few, {"unlabelled": rest}]
    return describe_arrays(written)


def write_rows(path: Path, column: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Writes some rows of a column into a file of their own."""
    array = create_array(path, column.dtype, (len(rows), *column.shape[1:]))
    for start in range(0, len(rows), CHUNK):
        array[start : start + CHUNK] = column[rows[start : start + CHUNK]]
    return array
