"""One data set as memory-mapped arrays, checked and cached once: source -> resize -> train, validation, test."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from gen.config import DataConfig
from gen.damage import DamageError, remark
from gen.data import cache as filling
from gen.data import labels
from gen.data.columns import COLUMNS, is_image
from gen.data.folders import digest_visible
from gen.data.locks import alone
from gen.data.parts import Runner, here
from gen.data.places import cache_folder, has_changed, is_archive, list_files, title, without_secrets
from gen.data.raw import Pictures, Raw, Source
from gen.data.sources import find_source
from gen.data.splits import SPLIT_SEED
from gen.data.sums import MANIFEST, damage_of, files_of, is_marked, mark, read_manifest, with_sums
from gen.phase import Shape
from gen.results.room import FullError, room_at
from gen.results.storage import Storage, local_path, one_line

Table: TypeAlias = Mapping[str, Tensor]
"""Columns of equal length: images as uint8 (N, C, H, W), labels as int64 (N,)."""

FORMAT = 2  # version of the cache's layout: another one makes new folders
LATER = ("fit", "background", "white", "stratified", "images")  # settings that the first caches of this format had not
ORIGINALS = "originals"  # in the folder of caches: what was downloaded without a root
LONGEST = 150  # characters of a data set's name within a file's
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError)  # by cut and overwritten files
PARTS = "GENFLEET_PARTS"  # environment variable: a folder or URI that all hosts reach, for decoded parts to stay in


@dataclass(frozen=True)
class Dataset:
    """Splits "train", "validation" and "test", each a tuple of tables. A batch is one draw from each table."""

    name: str
    shape: Shape
    hash: str  # of names and contents of all columns: 16 hexadecimal digits
    splits: Mapping[str, tuple[Table, ...]]
    manifest: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)  # of the cache folder

    @property
    def columns(self) -> frozenset[str]:
        """Names of all columns over all tables."""
        return frozenset(column for table in self.splits["train"] for column in table)

    def column(self, split: str, name: str) -> Tensor:
        """A column of a split. ValueError if none of its tables has it."""
        for table in self.splits[split]:
            if name in table:
                return table[name]
        have = ", ".join(column for table in self.splits[split] for column in table)
        raise ValueError(f"{split} of data set {self.name} has no column {name}; it has: {have}")

    def count(self, split: str, name: str) -> int:
        """Rows of a column of a split; 0 if it has none."""
        return next((len(table[name]) for table in self.splits[split] if name in table), 0)

    def length(self, split: str) -> int:
        """Rows of the longest table of a split; one pass over it is an epoch."""
        return max(len(next(iter(table.values()))) for table in self.splits[split])

    @functools.cached_property
    def held_out(self) -> str:
        """A hash of the images and labels of validation and test: 16 hexadecimal digits. Sets that differ in their
        training images alone, or in which of them keep their labels, have the same one: a column counts by its values,
        and once if several tables of a split have it. Codes are not held-out images: a model makes them."""
        found = {
            f"{split} {column.dtype} {tuple(column.shape)} {hashlib.sha256(values.data).hexdigest()}"
            for split in ("validation", "test")
            for table in self.splits[split]
            for name, column in table.items()
            if COLUMNS.get(name) != "codes"
            for values in [column.contiguous().numpy()]
        }
        return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:16]

    @property
    def grey_columns(self) -> list[str]:
        """Columns of images that were all grey, and have three equal channels, for other columns are in colour."""
        coloured = self.manifest.get("coloured", {})
        return [
            name for name, count in coloured.items() if count == sum(self.count(split, name) for split in self.splits)
        ]

    @property
    def image_column(self) -> str:
        """The first column of images. A set without a column "image" is judged by it."""
        return next(column for table in self.splits["train"] for column in table if is_image(column))


def check_needs(needs: frozenset[str], dataset: Dataset) -> None:
    """ValueError if `dataset` lacks a column that a model needs."""
    if not needs <= dataset.columns:
        missing, present = ", ".join(sorted(needs - dataset.columns)), ", ".join(sorted(dataset.columns))
        raise ValueError(f"data set {dataset.name} lacks column {missing} that the entry needs; it has: {present}")


def open_dataset(
    config: DataConfig,
    root: str | None = None,
    download: bool = False,
    cache: str | None = None,
    *,
    verify: bool = True,
    parts: str | None = None,
    runner: Runner = here,
    recheck: bool = False,
) -> Dataset:
    """The data set that `config` names, memory-mapped from the cache, which is filled first if need be.

    `root`: folder of the originals, in the layout of torchvision; `download` fetches those that it lacks. With a root,
    the cache is built anew if the originals changed; without one, a cache that exists is used, and downloads go into
    the folder of caches. For a set that is named by its place ("images:PATH"), every call notices files that came or
    went in a local folder. Unless `verify` is false, a whole listing of the folders that images are read from, buckets
    as well, tells of files that were overwritten. `cache`: the folder of caches; by default $GENFLEET_CACHE or
    ~/.cache/genfleet. `parts`: a folder or URI where decoded parts stay for other hosts; by default $GENFLEET_PARTS,
    else they lie beside the cache until it is whole. `runner` makes the parts. The first call on a host, and each that
    is to `recheck`, compares the bytes of the cache with their checksums; a damaged one is built anew, with a remark.
    ValueError for an unknown name, bad originals, or a cache that cannot be written; FullError for one that has no room
    left.
    """
    place = cache_folder(cache)
    if config.labels:
        whole = dataclasses.replace(config, labels=0, label_seed=0)
        return few_labels(
            config,
            place,
            open_dataset(whole, root, download, cache, verify=verify, parts=parts, runner=runner, recheck=recheck),
            recheck,
        )
    source = find_source(config.name)
    originals = local_path(root) if root else place / ORIGINALS

    def is_current(manifest: Mapping[str, Any]) -> bool:
        """Whether the originals are still those that the manifest records."""
        recorded = manifest["originals"]
        if not source.place and root is None:
            return True
        if "listings" not in manifest:  # of an earlier version, which took some pixels for others and lost classes
            return False
        changed = has_changed(source.place, recorded) if source.place else recorded != fingerprint(source, originals)
        return not changed and not (verify and was_overwritten(source, manifest["listings"]))

    shelves: list[str] = []  # of the parts that this call made

    def fill(fresh: Path, scratch: Path) -> dict[str, Any]:
        with alone(place / "originals.lock", "fetches originals") if download else contextlib.nullcontext():
            raw = source.load(originals, download, scratch)
        marks = raw.marks if raw.marks is not None else fingerprint(source, originals)
        listings = list_originals(source, raw, scratch)
        shelf, _ = shelf_of(place, config, parts)
        shelves.append(shelf.place)
        inside = any(getattr(column, "place", "").startswith(str(scratch)) for *_, column in filling.walk(raw.splits))
        makes = here if inside else runner  # no other host has the scratch folder
        manifest = filling.fill(fresh, config, source, raw, shelf, makes)
        return {"originals": marks, "listings": listings} | manifest

    dataset = read_or_fill(place, config, is_current, fill, recheck)
    if not shelf_of(place, config, parts)[1]:  # the cache is whole: nobody needs its parts
        for shelf_place in shelves:
            shutil.rmtree(shelf_place, ignore_errors=True)
    return dataset


def few_labels(config: DataConfig, place: Path, whole: Dataset, recheck: bool = False) -> Dataset:
    """The set `whole`, of whose training images only `config.labels` keep a label. ValueError if it has no labels."""
    if not whole.shape.classes or "label" not in whole.columns:
        raise ValueError(f"labels={config.labels} needs a data set with labels; {whole.name} has none")

    def fill(fresh: Path, scratch: Path) -> dict[str, Any]:
        found = labels.fill(fresh, whole.splits, whole.shape.classes, config.labels, config.label_seed)
        return {**whole.manifest, **found, "originals": {"whole": whole.hash}}

    def is_current(manifest: Mapping[str, Any]) -> bool:
        return bool(manifest["originals"] == {"whole": whole.hash})

    return read_or_fill(place, config, is_current, fill, recheck)


def read_or_fill(
    place: Path,
    config: DataConfig,
    is_current: Callable[[Mapping[str, Any]], bool],
    fill: Callable[[Path, Path], dict[str, Any]],
    recheck: bool = False,
) -> Dataset:
    """The data set in the cache folder of `config`. One process at a time has `fill` write it, if the folder is absent,
    damaged, or made of other originals (its manifest is not `is_current`), and compares its bytes, if this host has not
    or is to `recheck`.

    `fill`: (fresh folder, scratch folder) -> manifest.
    """
    settings = settings_of(config)
    folder = place / f"{slug(config.name)}-{key_of(settings)}"
    dataset = read(folder, is_current)
    if dataset is not None and not recheck and is_marked(folder, files_of(dataset.manifest)):
        return dataset
    try:
        with room_at(f"cache folder {place}", place):
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{folder.name}.lock").touch()
    except OSError as error:
        if dataset is not None and not damage_of(folder, dataset.manifest, dataset.splits):  # read as it is
            return dataset
        if isinstance(error, FullError):
            raise
        raise ValueError(f"cache folder {place} cannot be written ({error.strerror}); set GENFLEET_CACHE") from error
    with alone(place / f"{folder.name}.lock", f"prepares {display(config.name)}"):
        dataset, why = read(folder, is_current), ""  # another process may have built it while this one waited
        if dataset is None:
            why = unreadable(folder)
        elif recheck or not is_marked(folder, files_of(dataset.manifest)):
            why = damage_of(folder, dataset.manifest, dataset.splits)
            dataset = None if why else dataset
        if dataset is None:
            with room_at(f"cache folder {place}", place):
                rebuild(folder, settings, fill, why)
            dataset = read(folder, lambda manifest: True)
        if dataset is not None:
            mark(folder, files_of(dataset.manifest))
    if dataset is None:
        raise RuntimeError(f"the cache {folder} was built and cannot be read")
    return dataset


def rebuild(folder: Path, settings: Mapping[str, Any], fill: Callable[[Path, Path], dict[str, Any]], why: str) -> None:
    """Makes the cache folder; `why`: what in the present one is damaged, which then is said. DamageError where that
    cannot be made anew."""
    try:
        build(folder, settings, fill)
    except ValueError as error:
        if why:
            raise DamageError(f"cache {folder} is damaged ({why}) and cannot be made anew: {error}") from error
        raise
    if why:
        remark(f"cache {folder} was damaged ({why}), and was made anew")


def settings_of(config: DataConfig) -> dict[str, Any]:
    """The settings that name a cache folder: those that decide what is stored. A place in them is absolute, and without
    secrets. Later ones than the first caches' are left out at their defaults, so that these caches are found."""
    defaults = dataclasses.asdict(DataConfig())
    settings = dataclasses.asdict(config) | {"name": display(config.name)}
    del settings["augment"]
    return {key: value for key, value in settings.items() if key not in LATER or value != defaults[key]}


def display(name: str) -> str:
    """A data set's name for tables and messages."""
    source = find_source(name)
    return f"{name.partition(':')[0]}:{without_secrets(source.place)}" if source.place else name


def slug(name: str) -> str:
    """A data set's name as part of a file's: "images:/there/cifar10-jpeg.zip" -> "cifar10-jpeg". Of a name as long as
    the file system allows it is the beginning, for files have longer names than it."""
    kind, colon, place = name.partition(":")
    return re.sub(r"[^A-Za-z0-9]+", "-", title(place))[:LONGEST].strip("-") or kind if colon else name


def key_of(settings: Mapping[str, Any]) -> str:
    """12 hexadecimal digits that name settings."""
    text = json.dumps([FORMAT, SPLIT_SEED, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def shelf_of(place: Path, config: DataConfig, parts: str | None) -> tuple[Storage, bool]:
    """Where decoded parts go, and whether they stay there. They stay in the folder or URI that `parts` or
    $GENFLEET_PARTS names; beside the cache they do not. `skip_bad` changes neither the parts nor their place."""
    name = f"{slug(config.name)}-{key_of(settings_of(dataclasses.replace(config, skip_bad=False)))}.parts"
    shared = parts or os.environ.get(PARTS)
    if not shared:
        return Storage(str(place / f".{name}")), False
    head, question, query = shared.partition("?")
    return Storage(f"{head.rstrip('/')}/{name}{question}{query}"), True


def list_originals(source: Source, raw: Raw, scratch: Path) -> dict[str, str]:
    """Folder -> a digest of its files, by names, sizes and dates, of each folder that images are read from; "" is the
    source's own place, which may hold secrets. The mark of an archive tells by itself whether it is another."""
    if source.place:
        return {} if is_archive(source.place) else {"": raw.listing}
    places = {column.place for *_, column in filling.walk(raw.splits) if isinstance(column, Pictures)}
    found = sorted(place for place in places if not place.startswith(str(scratch)) and not is_archive(place))
    return {place: digest_visible(list_files(place).files) for place in found}


def was_overwritten(source: Source, listings: Mapping[str, str]) -> bool:
    """Whether files of these folders are others than they were; a folder that is out of reach counts as it was."""
    now = ((digest_visible(list_files(place or source.place).files), listing) for place, listing in listings.items())
    try:
        return any(found != listing for found, listing in now)
    except ValueError:
        return False


def fingerprint(source: Source, root: Path) -> dict[str, list[int]]:
    """Path -> size and time of change of the originals in `root`: tells cheaply whether they changed."""
    found = sorted({path for pattern in source.originals for path in root.glob(pattern)})
    return {str(path.relative_to(root)): [path.stat().st_size, path.stat().st_mtime_ns] for path in found}


def read(folder: Path, is_current: Callable[[Mapping[str, Any]], bool]) -> Dataset | None:
    """The data set in a cache folder; None if it is absent, damaged, or its manifest is not `is_current`."""
    try:
        found = open_folder(folder)
    except UNREADABLE:
        return None  # the caller builds it anew from the originals
    if not is_current(found.manifest):
        return None
    try:
        same = read_manifest(folder / MANIFEST) == found.manifest
    except (OSError, ValueError):
        return None
    return found if same else None  # replaced while it was read: arrays and hash may not belong together


def open_folder(folder: Path) -> Dataset:
    """The data set in a cache folder. It raises one of `UNREADABLE` where that is absent, cut or overwritten."""
    manifest = read_manifest(folder / MANIFEST)
    splits = {
        split: tuple(
            {column: map_column(folder / like["file"], like) for column, like in columns.items()} for columns in tables
        )
        for split, tables in manifest["splits"].items()
    }
    return Dataset(manifest["source"], Shape(**manifest["shape"]), manifest["hash"], splits, manifest)


def unreadable(folder: Path) -> str:
    """What is damaged in a cache folder that is there and cannot be read; "" if it can, or is not there."""
    try:
        open_folder(folder)
    except UNREADABLE as error:
        return one_line(error) if folder.exists() else ""
    return ""


def map_column(path: Path, like: Mapping[str, Any]) -> Tensor:
    """A stored column, memory-mapped to be read only. All processes of a host share its pages, and it may be larger
    than memory, which a map that can be written may not."""
    try:
        array = np.load(path, mmap_mode="r")
    except OSError:
        raise
    except Exception as error:  # its header is read as Python is, and damaged ones raise as many kinds of errors
        raise ValueError(f"{path} is not what was written: {one_line(error)}") from error
    if list(array.shape) != like["shape"] or str(array.dtype) != like["dtype"]:
        raise ValueError(f"{path} is not what its manifest says")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of arrays that cannot be written, and nobody writes
        return torch.from_numpy(array)


def build(folder: Path, settings: Mapping[str, Any], fill: Callable[[Path, Path], dict[str, Any]]) -> None:
    """Makes the cache folder, whole or not at all. The caller holds its lock, so no living process writes to its
    temporary folders, and those that exist are removed."""
    for dead in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(dead)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        fresh, old, scratch = (Path(temporary) / name for name in ("fresh", "old", "scratch"))
        fresh.mkdir()
        scratch.mkdir()
        manifest = fill(fresh, scratch) | {"source": settings["name"], "settings": dict(settings)}
        manifest = with_sums(manifest, fresh, sorted(path.name for path in fresh.iterdir()))
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1))
        if folder.exists():
            folder.rename(old)  # processes that have it mapped keep their pages
        fresh.rename(folder)


def check_trained_on(dataset: Dataset, run: str, data_hash: str) -> None:
    """ValueError unless the images are those that the run was trained on."""
    if dataset.hash != data_hash:
        raise ValueError(
            f"data set {dataset.name} on host {socket.gethostname()} has hash {dataset.hash}, that which run {run} was "
            f"trained on has {data_hash}; bring the same files"
        )
