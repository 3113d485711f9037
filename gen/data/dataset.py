"""One data set as memory-mapped arrays, checked and cached once: source -> resize -> train, validation, test."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gen.config import DataConfig
from gen.data.sources import Columns, Raw, Source, find_source
from gen.phase import Shape

Table: TypeAlias = Mapping[str, Tensor]
"""Columns of equal length: images as uint8 (N, C, H, W), labels as int64 (N,)."""

FORMAT = 1  # of the cache; a change makes new folders
SPLIT_SEED = 0  # of validation: one for all runs, so that their figures compare
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Dataset:
    """Splits "train", "validation" and "test", each a tuple of tables. A batch is one draw from each table."""

    name: str
    shape: Shape
    hash: str  # of names and contents of all columns: 16 hexadecimal digits
    splits: Mapping[str, tuple[Table, ...]]

    @property
    def columns(self) -> frozenset[str]:
        """Names of all columns over all tables."""
        return frozenset(column for table in self.splits["train"] for column in table)


def check_needs(needs: frozenset[str], dataset: Dataset) -> None:
    """ValueError if `dataset` lacks a column that a model needs."""
    if not needs <= dataset.columns:
        missing, present = ", ".join(sorted(needs - dataset.columns)), ", ".join(sorted(dataset.columns))
        raise ValueError(f"data set {dataset.name} lacks column {missing} that the entry needs; it has: {present}")


def open_dataset(
    config: DataConfig, root: str | None = None, download: bool = False, cache: str | None = None
) -> Dataset:
    """The data set that `config` names, memory-mapped from the cache, which is filled first if need be.

    `root`: folder of the originals, in the layout of torchvision. One that is given must be sound, and the cache is
    built anew if its files changed; without it a cache that is there serves, and downloads go into the cache.
    `cache`: default $GENFLEET_CACHE or ~/.cache/genfleet. ValueError for an unknown name, bad originals, a cache that
    cannot be written.
    """
    source = find_source(config.name)
    place = Path(cache or os.environ.get("GENFLEET_CACHE") or "~/.cache/genfleet").expanduser()
    originals = Path(root).expanduser() if root else place / "originals"
    settings = dataclasses.asdict(config)
    key = hashlib.sha256(json.dumps([FORMAT, SPLIT_SEED, settings], sort_keys=True).encode()).hexdigest()[:12]
    folder = place / f"{config.name}-{key}"
    marks = fingerprint(source, originals) if root else None
    dataset = read(folder, marks)
    if dataset is None:
        try:
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{folder.name}.lock").touch()
        except OSError as error:
            raise ValueError(
                f"cache folder {place} cannot be written ({error.strerror}); set GENFLEET_CACHE"
            ) from error
        with FileLock(place / f"{folder.name}.lock"):
            dataset = read(folder, marks)  # another process may have built it while this one waited
            if dataset is None:
                build(folder, config, source, originals, download)
                dataset = read(folder, fingerprint(source, originals) if root else None)
    if dataset is None:
        raise RuntimeError(f"the cache {folder} was built and cannot be read")
    return dataset


def fingerprint(source: Source, root: Path) -> dict[str, list[int]]:
    """Path -> size and time of change of the originals that are there: tells cheaply whether they changed."""
    found = sorted({path for pattern in source.originals for path in root.glob(pattern)})
    return {str(path.relative_to(root)): [path.stat().st_size, path.stat().st_mtime_ns] for path in found}


def read(folder: Path, marks: Mapping[str, list[int]] | None) -> Dataset | None:
    """The data set in a cache folder; None if it is absent, damaged, or made from originals other than `marks`."""
    try:
        text = (folder / MANIFEST).read_text()
        manifest = json.loads(text)
        if marks is not None and marks != manifest["originals"]:
            return None
        splits = {
            split: tuple(
                {column: opened(folder / file_name(split, index, column), like) for column, like in columns.items()}
                for index, columns in enumerate(tables)
            )
            for split, tables in manifest["splits"].items()
        }
        if (folder / MANIFEST).read_text() != text:
            return None  # replaced while it was read: arrays and hash may not belong together
        return Dataset(manifest["source"], Shape(**manifest["shape"]), manifest["hash"], splits)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None  # whatever a cut or overwritten file raises: the caller builds it anew from the originals


def opened(path: Path, like: Mapping[str, Any]) -> Tensor:
    """A stored column. Mapped copy-on-write: nobody writes, so all processes of a host share the pages, and torch takes
    the array without a warning."""
    array = np.load(path, mmap_mode="c")
    if list(array.shape) != like["shape"] or str(array.dtype) != like["dtype"]:
        raise ValueError(f"{path} is not what its manifest says")
    return torch.from_numpy(array)


def file_name(split: str, index: int, column: str) -> str:
    """Where a column of table number `index` lies in a cache folder."""
    return f"{split}-{index}-{column}.npy"


def build(folder: Path, config: DataConfig, source: Source, root: Path, download: bool) -> None:
    """Makes the cache folder, whole or not at all. The caller holds its lock, so other temporary folders are dead."""
    for dead in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(dead)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        fresh, old, scratch = (Path(temporary) / name for name in ("fresh", "old", "scratch"))
        fresh.mkdir()
        scratch.mkdir()
        raw = source.load(root, download, scratch)
        check(config.name, raw)
        splits = {
            split: tuple({name: resized(array, config.size) for name, array in table.items()} for table in tables)
            for split, tables in split_up(raw, config.validation).items()
        }
        manifest = {
            "source": config.name,
            "settings": dataclasses.asdict(config),
            "originals": fingerprint(source, root),
            "shape": dataclasses.asdict(shape_of(splits, raw.classes)),
            "hash": content_hash(splits),
            "splits": {
                split: [
                    {name: {"shape": list(array.shape), "dtype": str(array.dtype)} for name, array in table.items()}
                    for table in tables
                ]
                for split, tables in splits.items()
            },
        }
        for split, index, name, array in walk(splits):
            np.save(fresh / file_name(split, index, name), array)
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1))
        if folder.exists():
            folder.rename(old)  # processes that have it mapped keep their pages
        fresh.rename(folder)


Splits: TypeAlias = Mapping[str, tuple[Columns, ...]]


def split_up(raw: Raw, share: float) -> Splits:
    """Holds a seeded `share` of each training table out as "validation"; rows keep the order of the source."""
    parts: dict[str, list[Columns]] = {"train": [], "validation": []}
    for index, table in enumerate(raw.splits["train"]):
        count = len(next(iter(table.values())))
        order = np.random.default_rng([SPLIT_SEED, index]).permutation(count)
        held = max(1, round(count * share))
        for part, rows in (("validation", np.sort(order[:held])), ("train", np.sort(order[held:]))):
            parts[part].append({name: array[rows] for name, array in table.items()})
    return {"train": tuple(parts["train"]), "validation": tuple(parts["validation"]), "test": raw.splits["test"]}


def resized(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Images (N, C, H, W) at `size` pixels a side, bilinear with antialiasing; other columns, and size 0: as they are.

    Stays in uint8, where torch computes with integers: the same pixels, and so the same hash, on every machine.
    """
    if array.dtype != np.uint8 or size in (0, array.shape[-1]):
        return array
    parts = torch.split(torch.from_numpy(np.ascontiguousarray(array)), 4096)
    return torch.cat([F.interpolate(part, (size, size), mode="bilinear", antialias=True) for part in parts]).numpy()


def check(name: str, raw: Raw) -> None:
    """ValueError unless columns are of equal length, images square and of one shape, and labels in range."""
    shapes = {array.shape[1:] for *_, array in walk(raw.splits) if array.dtype == np.uint8}
    if len(shapes) != 1 or any(len(shape) != 3 or shape[1] != shape[2] for shape in shapes):
        raise ValueError(
            f"data set {name} is damaged: images must be square and of one shape, they are {sorted(shapes)}"
        )
    for split, tables in raw.splits.items():
        for table in tables:
            lengths = {column: len(array) for column, array in table.items()}
            if len(set(lengths.values())) != 1 or min(lengths.values()) < 2:
                raise ValueError(f"data set {name} is damaged: {split} has columns of lengths {lengths}")
            if "label" in table and not 0 <= table["label"].min() <= table["label"].max() < raw.classes:
                raise ValueError(f"data set {name} is damaged: {split} has labels that are not 0 to {raw.classes - 1}")


def walk(splits: Splits) -> list[tuple[str, int, str, NDArray[Any]]]:
    """Every column as (split, table index, column name, array), in one order."""
    return [
        (split, index, name, tables[index][name])
        for split, tables in sorted(splits.items())
        for index in range(len(tables))
        for name in sorted(tables[index])
    ]


def shape_of(splits: Splits, classes: int) -> Shape:
    """Channels and size of the images, and the number of classes."""
    images = next(array for *_, array in walk(splits) if array.dtype == np.uint8)
    return Shape(images.shape[1], images.shape[2], classes)


def content_hash(splits: Splits) -> str:
    """16 hexadecimal digits of sha256 over the names, types, shapes and contents of all columns."""
    digest = hashlib.sha256()
    for split, index, name, array in walk(splits):
        digest.update(json.dumps([split, index, name, str(array.dtype), list(array.shape)]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
