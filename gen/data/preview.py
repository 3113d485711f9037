"""What can be told of a data set before any of its images is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from gen.checks import at_least
from gen.config import DataConfig
from gen.data.dataset import ORIGINALS, Dataset, Table, fingerprint, key_of, read, settings_of, slug
from gen.data.places import cache_folder, is_archive
from gen.data.sources import find_source
from gen.phase import Shape
from gen.results.storage import local_path

SHAPES = {  # name of a set whose images all have one shape -> that shape, and its classes
    "digits": Shape(1, 8, 10),
    "mnist": Shape(1, 28, 10),
    "fashion_mnist": Shape(1, 28, 10),
    "stacked_mnist": Shape(3, 28, 1000),
    "cifar10": Shape(3, 32, 10),
    "svhn": Shape(3, 32, 10),
    "svhn_extra": Shape(3, 32, 10),
}
ROWS = 1_000  # of each split of a preview: so many that no figure is left out for want of images


def preview(
    config: DataConfig, root: str | None = None, download: bool = False, cache: str | None = None
) -> Dataset | None:
    """The data set that `config` names, as the cache has it or, where that does not and the set's shape is known,
    without contents: columns on the device "meta", and no hash. None where only the images tell the shape. ValueError
    for an unknown name, or where nothing is at a place, in the folder `root` of originals, or to read without one."""
    check_there(config.name)
    place = cache_folder(cache)
    found = read(place / f"{slug(config.name)}-{key_of(settings_of(config))}", lambda manifest: True)
    if (root or found is None) and not download:
        check_originals(config.name, local_path(root) if root else place / ORIGINALS)
    if found is not None or config.name not in SHAPES:
        return found
    known = SHAPES[config.name]
    for setting in ("labels", "images"):  # one of each class, or 0
        if number := getattr(config, setting):
            at_least(setting, number, known.classes)
    shape = replace(known, size=config.size or known.size)
    tables: tuple[Table, ...] = ({"image": images(shape), "label": torch.empty(ROWS, dtype=torch.long, device="meta")},)
    if config.labels:
        tables = (*tables, {"unlabelled": images(shape)})
    return Dataset(config.name, shape, "", dict.fromkeys(("train", "validation", "test"), tables))


def check_there(name: str) -> None:
    """ValueError for an unknown data set, or for a place where nothing is."""
    if place := find_source(name).place:
        is_archive(place)


def check_originals(name: str, root: Path) -> None:
    """ValueError if a named data set has originals and none of them lies in the folder `root`."""
    source = find_source(name)
    if source.originals and not fingerprint(source, root):
        fault = "holds" if root.is_dir() else "does not exist, and so holds"
        raise ValueError(
            f"data folder {root} {fault} nothing of {name}; name its folder by --data-root, or use --download"
        )


def images(shape: Shape) -> torch.Tensor:
    """A column of images that holds none."""
    return torch.empty(ROWS, shape.channels, shape.size, shape.size, dtype=torch.uint8, device="meta")
