"""Which rows of a set belong to which split, and which of those to train on are used: seeded, the same for all runs, so
that their figures compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gen.config import DataConfig
from gen.data.raw import Columns, Raw, Rows

SPLIT_SEED = 0
CHOICE = 1  # sets the numbers that choose images apart from those that split


@dataclass(frozen=True)
class Pick:
    """Those rows of a raw table that belong to one split."""

    columns: Columns
    rows: Rows


Picks: TypeAlias = Mapping[str, Sequence[Pick]]
"""Split -> one pick for each of its tables."""


def split_up(raw: Raw, share: float, stratified: bool = False) -> Picks:
    """The rows of each split. A "validation" or "test" that the source lacks takes a seeded `share` of each training
    table; if `stratified`, of each class of it. Rows keep the order of the source."""
    lacking = [split for split in ("validation", "test") if split not in raw.splits]
    parts: dict[str, list[Pick]] = {"train": [], **{split: [] for split in lacking}}
    for index, columns in enumerate(raw.splits["train"]):
        labels = labels_of(columns) if stratified else None
        order = np.random.default_rng([SPLIT_SEED, index]).permutation(len(next(iter(columns.values()))))
        groups = [order] if labels is None else [order[labels[order] == label] for label in np.unique(labels)]
        for split, rows in share_out(groups, lacking, share, labels is not None).items():
            parts[split].append(Pick(columns, rows))
    own = {
        split: [Pick(columns, np.arange(len(next(iter(columns.values()))))) for columns in tables]
        for split, tables in raw.splits.items()
        if split != "train"
    }
    return {split: (parts | own)[split] for split in ("train", "validation", "test")}


def share_out(groups: Sequence[Rows], lacking: Sequence[str], share: float, small: bool) -> dict[str, Rows]:
    """Of each group of rows a share for each split that is lacking, at least one row, and the rest to train on. Of
    `small` groups at least one row is to train on too, before the splits get any."""
    found: dict[str, list[Rows]] = {split: [] for split in ("train", *lacking)}
    for group in groups:
        count = max(1, round(len(group) * share))
        if small and lacking:
            count = min(count, (len(group) - 1) // len(lacking))
        for number, split in enumerate(lacking):
            found[split].append(group[number * count : (number + 1) * count])
        found["train"].append(group[len(lacking) * count :])
    return {split: np.sort(np.concatenate(rows)) for split, rows in found.items()}


def labels_of(columns: Columns) -> NDArray[np.int64] | None:
    """The labels of a raw table; None if it has none."""
    labels = columns.get("label")
    return labels if isinstance(labels, np.ndarray) else None


def choose_images(config: DataConfig, raw: Raw, picks: Picks) -> Picks:
    """The splits with `config.images` rows of each training table, if it has more: as many of each class, as far as
    the classes have them. Those of a larger number are the smaller number's and more. ValueError if no table has so
    many, or there are fewer than classes."""
    if not config.images:
        return picks
    most = max(len(pick.rows) for pick in picks["train"])
    least = max(raw.classes, 1)
    if not least <= config.images <= most:
        raise ValueError(
            f"images={config.images} is out of range: {config.name} has {most} training images of "
            f"{raw.classes or 'no'} classes; allowed: from {least} to {most}, or 0 for all"
        )
    chosen = [Pick(pick.columns, choose(pick, config.images, index)) for index, pick in enumerate(picks["train"])]
    return {**picks, "train": chosen}


def choose(pick: Pick, count: int, index: int) -> Rows:
    """`count` of the rows of table number `index`: the first of each class in a seeded order, then the second of each,
    and so on."""
    rng = np.random.default_rng([SPLIT_SEED, index, CHOICE])
    order = rng.permutation(pick.rows)
    labels = labels_of(pick.columns)
    if labels is None:
        return np.sort(order[:count])
    turns, classes = np.empty(len(order), np.int64), labels[order]
    for label in np.unique(classes):
        turns[classes == label] = np.arange(np.count_nonzero(classes == label))
    places = rng.permutation(int(classes.max()) + 1)  # the order of the classes within a turn
    return np.sort(order[np.lexsort((places[classes], turns))[:count]])


def classes_without(written: Mapping[str, Sequence[Mapping[str, NDArray[Any]]]], classes: int) -> dict[str, int]:
    """Split -> how many of the classes it has no image of; without splits that have images of all."""
    found = {
        split: classes - len(np.unique(table["label"]))
        for split, tables in written.items()
        for table in tables
        if "label" in table
    }
    return {split: count for split, count in sorted(found.items()) if count}
