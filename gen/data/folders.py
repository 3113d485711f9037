"""Sets of image files by how they are laid out: class folders, classes that a file tells, unpaired domains."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from gen.data.archives import PACKED, kind_of, unpack_tar
from gen.data.arrays import ARRAYS, load_arrays
from gen.data.parts import digest
from gen.data.places import SHARDS, is_archive, list_files, list_shard, mark, split_shard, without_secrets
from gen.data.raw import Aside, Columns, File, Pictures, Raw
from gen.data.sheets import ROW
from gen.data.told import Told, in_order, normal_form, told_classes
from gen.results.storage import Storage

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
ADVICE = {  # suffixes of files that may hold images and are not read -> what to do
    **dict.fromkeys(
        (".avif", ".heic", ".heif", ".jp2", ".jxl", ".svg", ".psd", ".raw", ".dng", ".cr2", ".nef", ".exr", ".dcm"),
        "which is not read: convert them, to PNG for example",
    ),
    **dict.fromkeys(
        (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".parquet", ".npz", ".npy"),
        "and are read only where a set is nothing else, or if one is named itself",
    ),
    **dict.fromkeys(
        (".arrow", ".h5", ".hdf5", ".mat", ".tfrecord", ".tfrecords", ".mdb", ".lmdb", ".pt", ".pkl", ".rar", ".7z"),
        "which is not read: bring image files, a Parquet table of them, or an .npz",
    ),
}
THUMBNAILS = ("@eaDir", "#recycle")  # folders in which file servers keep small or old copies
HIDDEN = "files are hidden"
COPIES = f"files are thumbnails or old copies of a file server ({' or '.join(THUMBNAILS)})"
SPLITS = {  # name of a folder -> split
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
DOMAINS = {"A": "a", "B": "b"}
SHARD_SPLIT = re.compile(rf"({'|'.join(SPLITS)})(?![a-z])", re.IGNORECASE)  # how the name of a split's shard begins


@dataclass(frozen=True)
class Found:
    """What a place holds."""

    pictures: list[File]  # sorted by name
    others: list[File]  # files that are no images, which may tell classes
    marks: Mapping[str, list[int]]
    left: Sequence[tuple[str, str]]  # (why, name) of files and folders that are no part of the set
    listing: str  # a digest of all files
    in_shards: bool = False  # whether the images lie in shards

    def aside(self, used: Collection[str] = ()) -> dict[str, Aside]:
        """Why files, or folders, are no part of the set -> which; without those that are `used` all the same."""
        named: dict[str, list[str]] = {}
        for why, name in self.left:
            if name not in used:
                named.setdefault(why, []).append(name)
        return {why: Aside(len(names), names[0]) for why, names in sorted(named.items())}


def images_of(place: str) -> Found:
    """The image files of a place, and what else there is. Where a folder has none, those in its tar archives or Parquet
    tables, the shards of a set. ValueError if it has no images."""
    files, marks, folders = list_files(place)
    shards = {file.name for file in files if is_shard(file.name)}
    if any(not why_aside(file.name) for file in files):
        shards = set()
    inside = [file for shard in sorted(shards) for file in list_shard(place, shard)]
    reasons = [(file, why_aside(file.name)) for file in [*files, *inside] if file.name not in shards]
    pictures = [file for file, why in reasons if not why]
    rest = [file for file, why in reasons if why]
    empty = [("folders have no images, and make no classes", name) for name in folders_without(pictures, folders)]
    left = [(why, file.name) for file, why in reasons if why] + empty
    others = [file for file in rest if not is_hidden(file.name)]
    found = Found(pictures, others, marks, left, digest_visible(files), bool(shards))
    if not pictures:
        held = "; ".join(f"{one.number} {why}, such as {one.such_as!r}" for why, one in found.aside().items())
        raise ValueError(
            f"{without_secrets(place)} holds no images; their names end in {', '.join(SUFFIXES)}"
            + (f"; found: {held}" if held else "")
        )
    return found


def digest_visible(files: Iterable[File]) -> str:
    """A digest of the files that are meant to be seen: what a file browser adds makes no other set."""
    return digest([file for file in files if not is_hidden(file.name)])


def why_aside(name: str) -> str:
    """Why a file is left out, by its name; "" for an image."""
    if is_hidden(name):
        return HIDDEN
    if any(part in THUMBNAILS for part in name.split("/")):
        return COPIES
    if is_picture(name):
        return ""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in ADVICE:
        return f"files end in {suffix}, {ADVICE[suffix]}"
    return f"files end in {suffix} and are no images by their names" if suffix else "files have names without a suffix"


def folders_without(pictures: Iterable[File], folders: Iterable[str]) -> list[str]:
    """The folders that hold no images, at any depth, and lie beside some that do."""
    full = {""}
    for folder in {file.name.rpartition("/")[0] for file in pictures}:
        while folder not in full:
            full.add(folder)
            folder = folder.rpartition("/")[0]
    found = [name for name in sorted(folders) if name not in full and not why_aside(f"{name}/x{SUFFIXES[0]}")]
    return [name for name in found if name.rpartition("/")[0] in full]


def is_picture(name: str) -> bool:
    """Whether a file is an image by its name."""
    return name.lower().endswith((*SUFFIXES, ROW))


def is_hidden(name: str) -> bool:
    """Whether a file is not meant to be seen, such as .DS_Store and what macOS adds to archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def is_shard(name: str) -> bool:
    """Whether a file holds images of a set, by its name."""
    return name.lower().endswith(SHARDS) and not is_hidden(name)


def group_by_folder(files: Iterable[File], start: int) -> dict[str, list[File]]:
    """Files by the first folder that their names have from character `start` on; "" for files in no folder."""
    groups: dict[str, list[File]] = {}
    for file in files:
        head, slash, _ = file.name[start:].partition("/")
        groups.setdefault(head if slash else "", []).append(file)
    return groups


def skip_outer_folders(files: list[File], start: int = 0, stop: Iterable[str] = ()) -> int:
    """The length of the outer folders that all names share, such as `horse2zebra/`: a folder that holds everything
    means nothing, unless it has a name of `stop`."""
    while True:
        groups = group_by_folder(files, start)
        (head, *more) = groups
        if more or not head or head in stop:
            return start
        start += len(head) + 1


def load_images(place: str, scratch: Path) -> Raw:
    """A folder or archive of images: `train/ val/ test/` are splits, further folders are classes, sorted by name.

    One folder that holds everything is no class. Classes that a file tells go before folders. ValueError for a layout
    that leaves doubt.
    """
    kind = kind_of(Storage(place)) if is_archive(place) else ""
    if kind in ARRAYS and (raw := load_arrays(place, kind, scratch)):
        return raw
    if kind in PACKED:
        return of_unpacked(load_images, place, kind, scratch)
    found = images_of(place)
    told = told_classes(place, found.pictures, found.others)
    by_split = classes_by_split(place, found, told)
    order = list(told.order) if told else []
    names = order or in_order(name for classes in by_split.values() for name in classes)
    if len(names) < 2:
        names = []
    for split, classes in by_split.items():
        if names and (strange := classes.keys() - {*by_split["train"], *order}):
            what = f"the class {min(strange)!r}" if min(strange) else "images without a class"
            raise ValueError(
                f"{without_secrets(place)} has {what} in its {split}, which train/ has not; move them away"
            )
    splits = {split: (table(place, classes, names),) for split, classes in by_split.items()}
    aside = found.aside(told.used if told else ())
    if told and told.absent:
        aside[f"names that {told.by!r} has are no images here"] = Aside(len(told.absent), told.absent[0])
    if told and told.columns:
        aside[f"columns of {told.by!r} are not used"] = Aside(len(told.columns), told.columns[0])
    printed = [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]  # a name may be no UTF-8
    return Raw(splits, len(names), printed, found.marks, found.listing, aside, told.by if told else "")


def of_unpacked(load: Callable[[str, Path], Raw], place: str, kind: str, scratch: Path) -> Raw:
    """What `load` makes of a compressed tar archive, which is unpacked into a plain one with the same date."""
    marks = mark(place)
    plain = unpack_tar(Storage(place), kind, scratch)
    os.utime(plain, ns=(marks[-1], marks[-1]))
    try:
        raw = load(plain, scratch)
    except ValueError as error:
        raise ValueError(str(error).replace(plain, without_secrets(place))) from None
    splits = {
        split: tuple({name: show_as(column, place) for name, column in columns.items()} for columns in tables)
        for split, tables in raw.splits.items()
    }
    return dataclasses.replace(raw, splits=splits, marks={"": marks})


def show_as(column: Any, place: str) -> Any:
    """A column whose images are called by another place in messages."""
    return dataclasses.replace(column, shown=place) if isinstance(column, Pictures) else column


def classes_by_split(place: str, found: Found, told: Told | None) -> dict[str, dict[str, list[File]]]:
    """Split -> class -> its files, by folders, or by the names of shards. ValueError for a layout that leaves doubt."""
    if found.in_shards:
        return {split: by_told(files, told) for split, files in shards_by_split(place, found.pictures).items()}
    files = found.pictures
    start = skip_outer_folders(files, stop=SPLITS)
    groups = group_by_folder(files, start)
    named = [SPLITS[head.lower()] for head in groups if head.lower() in SPLITS]  # splits, one for each folder
    if len(named) > len(set(named)) or any(head not in SPLITS and head.lower() in SPLITS for head in groups):
        raise ValueError(
            f"{without_secrets(place)} has {', '.join(f'{head}/' for head in sorted(groups))}; name its splits "
            f"train/, val/ and test/, each once"
        )
    if not named:
        return {"train": by_told(files, told) if told else by_class(place, files, start)}
    others = sorted(groups.keys() - SPLITS.keys())
    if others:
        what = f"the folder {others[0]}/" if others[0] else f"the image {groups[''][0].name!r}"
        raise ValueError(f"{without_secrets(place)} has {what} beside its splits; move it away, or into one of them")
    if not any(SPLITS[head] == "train" for head in groups):
        raise ValueError(
            f"{without_secrets(place)} has {', '.join(f'{head}/' for head in sorted(groups))} but no train/"
        )
    return {
        SPLITS[head]: by_told(held, told) if told else by_class(place, held, start + len(head) + 1)
        for head, held in groups.items()
    }


def shards_by_split(place: str, files: list[File]) -> dict[str, list[File]]:
    """Split -> the images in its shards; all are to train on where no shard has the name of a split. ValueError if some
    have and others have not, or none is to train on."""
    by_split: dict[str, list[File]] = {}
    for file in files:
        by_split.setdefault(split_of_shard(file.name), []).append(file)
    if len(by_split) > 1 and "" in by_split:
        raise ValueError(
            f"{without_secrets(place)} has {by_split[''][0].name!r} beside the shards of its splits; shards of splits "
            f"are called train..., val... and test..."
        )
    if not {"", "train"} & by_split.keys():
        raise ValueError(f"{without_secrets(place)} has shards of {', '.join(by_split)} but none of train")
    return {split or "train": found for split, found in by_split.items()}


def split_of_shard(name: str) -> str:
    """The split that a shard's name, or else one of the folders above it, begins with; "" if none does."""
    parts = split_shard(name)[0].split("/")
    return next((SPLITS[found[1].lower()] for part in reversed(parts) if (found := SHARD_SPLIT.match(part))), "")


def by_told(files: list[File], told: Told | None) -> dict[str, list[File]]:
    """Class -> its files, as a file tells them; {"": files} where it tells of none."""
    classes: dict[str, list[File]] = {}
    for file in files:
        classes.setdefault(told.classes.get(file.name, "") if told else "", []).append(file)
    return classes


def by_class(place: str, files: list[File], start: int) -> dict[str, list[File]]:
    """Class -> its files; {"": files} where there are no class folders. ValueError if only some files lie in one, or if
    two folders differ only in how Unicode spells them."""
    found = group_by_folder(files, start)
    if len(found) > 1 and "" in found:
        other = next(name for name in found if name)
        raise ValueError(
            f"{without_secrets(place)} has both images without a class ({found[''][0].name!r}) and class folders "
            f"({other}/); bring all into class folders, or none"
        )
    named = {normal_form(name): files for name, files in found.items()}
    if len(named) < len(found):
        twice = next(name for name in found if normal_form(name) != name)
        raise ValueError(
            f"{without_secrets(place)} has two folders {twice!a} and {normal_form(twice)!a}, which are one name in two "
            f"forms of Unicode; bring their images into one"
        )
    return named


def table(place: str, classes: Mapping[str, list[File]], names: Sequence[str]) -> Columns:
    """Images in order of name and, where there are `names` of classes, their labels."""
    numbers = {name: number for number, name in enumerate(names)}
    rows = sorted((file, numbers.get(name, 0)) for name, files in classes.items() for file in files)
    columns: Columns = {"image": Pictures(place, [file for file, _ in rows])}
    return {**columns, "label": np.array([label for _, label in rows], np.int64)} if names else columns


def load_unpaired(place: str, scratch: Path) -> Raw:
    """Two domains as CycleGAN's sets have them, `trainA trainB testA testB`: a table of column "a", one of column "b".

    Zhu et al. 2017, https://arxiv.org/abs/1703.10593. ValueError if a domain of a split is missing.
    """
    if is_archive(place) and (kind := kind_of(Storage(place))) in PACKED:
        return of_unpacked(load_unpaired, place, kind, scratch)
    found = images_of(place)
    files = found.pictures
    start = skip_outer_folders(files, stop=("trainA", "trainB"))
    groups = group_by_folder(files, start)
    missing = [name for name in ("trainA", "trainB") if name not in groups]
    if missing:
        raise ValueError(
            f"{without_secrets(place)} has no {' and no '.join(missing)}; unpaired sets are trainA trainB testA testB"
        )
    splits: dict[str, tuple[Columns, ...]] = {}
    used = set[str]()
    for split, heads in {"train": ("train",), "validation": ("val", "valid"), "test": ("test",)}.items():
        for head in heads:
            present = [f"{head}{domain}" for domain in DOMAINS if f"{head}{domain}" in groups]
            if len(present) == 1:
                raise ValueError(
                    f"{without_secrets(place)} has {present[0]} alone; bring its other domain too, or move it away"
                )
            if present and split not in splits:
                used |= {*present}
                splits[split] = tuple(
                    {column: Pictures(place, groups[f"{head}{domain}"])} for domain, column in DOMAINS.items()
                )
    unused = [file.name for head, group in groups.items() if head not in used for file in group]
    aside = found.aside()
    if unused:
        aside["images lie in no folder of a domain"] = Aside(len(unused), unused[0])
    return Raw(splits, 0, marks=found.marks, listing=found.listing, aside=aside)
