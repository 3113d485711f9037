"""How a data set's cache is filled: split the raw tables, decode encoded images in parts, write arrays in chunks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from gen.config import DataConfig
from gen.data.columns import is_image
from gen.data.decode import Look, resize
from gen.data.parts import Part, PartNote, Runner, array_of, cut, note_of, refuse_damaged, refuse_unlike
from gen.data.places import OUT_OF_REACH, without_secrets
from gen.data.raw import Pictures, Raw, Rows, Source
from gen.data.splits import Picks, choose_images, classes_without, split_up
from gen.phase import Shape
from gen.results.storage import Storage

CHUNK = 1024  # rows in memory at a time
LEAST_UPPER = 64  # the largest of the upper 8 bits of 16 below which images use at most 14

Written: TypeAlias = Mapping[str, Sequence[Mapping[str, NDArray[Any]]]]
"""Split -> tables; a table is its memory-mapped arrays by column."""


def fill(folder: Path, config: DataConfig, source: Source, raw: Raw, shelf: Storage, runner: Runner) -> dict[str, Any]:
    """Writes the arrays of `raw` into the folder; gives the manifest. `runner` decodes images that are files, in parts,
    onto `shelf`. ValueError for bad images or a bad layout."""
    check(config.name, raw, config.size)
    whole = split_up(raw, config.validation, config.stratified)
    picks = choose_images(config, raw, whole)
    orders, notes = decode_alike(order_parts(picks, config, shelf), runner)
    where = without_secrets(source.place) if source.place else config.name
    skipped = faults(orders, notes)
    if skipped and not config.skip_bad:
        raise refuse_damaged(where, [name for name, _ in skipped], [why for _, why in skipped])
    done = count_done(where, notes)
    channels, side = common_shape(config, picks, orders, notes)
    written: dict[str, list[dict[str, NDArray[Any]]]] = {}
    for split, tables in picks.items():
        written[split] = []
        for index, pick in enumerate(tables):
            parts = orders.get((split, index), [])
            rows = pick.rows[sound_mask(parts, notes)] if parts else pick.rows
            if not len(rows):
                raise ValueError(f"data set {config.name}: {split} has no images; each split needs at least 1")
            columns = {}
            for name, column in pick.columns.items():
                path = folder / file_name(split, index, name)
                if isinstance(column, Pictures):
                    columns[name] = join_parts(path, parts, notes, (len(rows), channels, side, side))
                else:
                    columns[name] = copy_rows(path, name, column, rows, config)
            written[split].append(columns)
    return {
        "shape": dataclasses.asdict(Shape(channels, side, raw.classes)),
        "classes": list(raw.names),
        "aside": {why: list(files) for why, files in raw.aside.items()},
        "told": raw.told,
        "chosen_of": [len(pick.rows) for pick in whole["train"]] if config.images else [],
        "without": classes_without(written, raw.classes),
        "skipped": [{"image": name, "why": why} for name, why in skipped],
        "coloured": count_coloured(picks, orders, notes) if channels == 3 else {},
        "pixels": done,
    } | describe_arrays(written)


def describe_arrays(written: Written) -> dict[str, Any]:
    """What a manifest says of arrays: their hash, counts, shapes and types."""
    return {
        "hash": content_hash(written),
        "counts": {
            split: [len(next(iter(table.values()))) for table in tables] for split, tables in sorted(written.items())
        },
        "splits": {
            split: [
                {
                    name: {
                        "file": Path(str(getattr(array, "filename", ""))).name or file_name(split, index, name),
                        "shape": list(array.shape),
                        "dtype": str(array.dtype),
                    }
                    for name, array in table.items()
                }
                for index, table in enumerate(tables)
            ]
            for split, tables in written.items()
        },
    }


def check(name: str, raw: Raw, size: int = 0) -> None:
    """ValueError unless columns are of equal length, arrays of images of one shape, which is square unless they are to
    be resized, and labels in range."""
    shapes = {
        column.shape[1:]
        for _, _, name, column in walk(raw.splits)
        if is_image(name) and not isinstance(column, Pictures)
    }
    if len(shapes) > 1 or any(len(shape) != 3 for shape in shapes):
        raise ValueError(f"data set {name} is damaged: images must be of one shape, they are {sorted(shapes)}")
    for shape in shapes:
        if shape[1] != shape[2] and not size:
            raise ValueError(f"data set {name} has images of {shape[2]}x{shape[1]}, not square; give --size")
    for split, tables in raw.splits.items():
        for table in tables:
            lengths = {column: len(array) for column, array in table.items()}
            if len(set(lengths.values())) != 1 or min(lengths.values()) < 2:
                raise ValueError(
                    f"data set {name} is damaged or too small: {split} has columns of lengths {lengths}; least: 2"
                )
            label = table.get("label")
            if isinstance(label, np.ndarray) and not 0 <= label.min() <= label.max() < raw.classes:
                raise ValueError(f"data set {name} is damaged: {split} has labels that are not 0 to {raw.classes - 1}")


Orders: TypeAlias = Mapping[tuple[str, int], list[Part]]
"""(split, table index) -> the parts in which the images of that table are decoded."""


def order_parts(picks: Picks, config: DataConfig, shelf: Storage) -> Orders:
    """The parts of every table whose images are files; nothing is decoded yet."""
    return {
        (split, index): cut(column, pick.rows, look_of(config), shelf, f"{split}-{index}-{name}")
        for split, tables in picks.items()
        for index, pick in enumerate(tables)
        for name, column in pick.columns.items()
        if isinstance(column, Pictures)
    }


def look_of(config: DataConfig) -> Look:
    """How the images of a set become pixels."""
    return Look(config.size, config.filter, config.fit, config.background, config.white)


def decode_alike(orders: Orders, runner: Runner) -> tuple[Orders, dict[str, PartNote]]:
    """The parts and their notes by path, with one value that is white in all deep images. Each image is read as if as
    few bits as hold its own values were all; where the images of a set differ in that, those of fewer bits are read
    again as the deepest are."""
    notes = finish_parts(orders, runner)
    whites = frozenset[float]().union(*(note.whites for note in notes.values()))
    if len(whites) < 2:
        return orders, notes
    white = max(whites)

    def again(part: Part) -> Part:
        if not notes[part.path].whites - {white}:
            return part
        return dataclasses.replace(
            part, look=dataclasses.replace(part.look, white=white), path=f"{part.path}-white-{white:g}"
        )

    orders = {key: [again(part) for part in parts] for key, parts in orders.items()}
    return orders, finish_parts(orders, runner)


def count_done(where: str, notes: Mapping[str, PartNote]) -> dict[str, float]:
    """What was done to pixels -> of how many images; and "white", the value that became white in deep ones. ValueError
    if 16 bits a colour, of which the upper 8 are read, hold less than that."""
    found = sum((Counter(note.counts) for note in notes.values()), Counter[str]())
    upper = max((note.upper for note in notes.values()), default=-1)
    if 0 <= upper < LEAST_UPPER:
        raise ValueError(
            f"{found['wide']} images of {where} have 16 bits a colour, and no value above {256 * upper + 255}; of such "
            f"images the upper 8 bits are read, which would make them all but black: save them with 8 bits a colour"
        )
    whites = [white for note in notes.values() for white in note.whites]
    return {name: count for name, count in sorted(found.items()) if name != "grey"} | (
        {"white": max(whites)} if whites else {}
    )


def finish_parts(orders: Orders, runner: Runner) -> dict[str, PartNote]:
    """Path -> note of every part. `runner` first makes the parts that are missing, and makes anew those that could not
    reach some of their images, which may be there now."""
    parts = [part for found in orders.values() for part in found]
    notes = {
        part.path: note for part in parts if (note := note_of(part)) and not OUT_OF_REACH & {*note.damaged.values()}
    }
    missing = [part for part in parts if part.path not in notes]
    if missing:
        for _ in runner(missing):
            pass
    for part in missing:
        note = note_of(part)
        if note is None:
            raise RuntimeError(f"{part.shelf}/{part.path} was made and cannot be read; is it a place all hosts share?")
        notes[part.path] = note
    return notes


def faults(orders: Orders, notes: Mapping[str, PartNote]) -> list[tuple[str, str]]:
    """Name of each damaged image, and what is wrong with it."""
    return [
        (part.names[position], why)
        for parts in orders.values()
        for part in parts
        for position, why in sorted(notes[part.path].damaged.items())
    ]


def sound_mask(parts: Sequence[Part], notes: Mapping[str, PartNote]) -> NDArray[np.bool_]:
    """Whether each image of these parts, one part after another, is sound: booleans (N,)."""
    masks = []
    for part in parts:
        mask = np.ones(len(part.names), bool)
        mask[list(notes[part.path].damaged)] = False
        masks.append(mask)
    return np.concatenate(masks)


def common_shape(config: DataConfig, picks: Picks, orders: Orders, notes: Mapping[str, PartNote]) -> tuple[int, int]:
    """Channels and pixels a side of the set's images: 3 channels if any is in colour. ValueError if sizes differ."""
    parts = [(part, notes[part.path].shape) for found in orders.values() for part in found]
    parts = [(part, shape) for part, shape in parts if shape[0]]
    for part, shape in parts:
        if shape[2] != parts[0][1][2]:
            raise refuse_unlike(part.shown or part.place, part.names[0], (shape[3], shape[2]))
    if parts:
        return max(shape[1] for _, shape in parts), parts[0][1][2]
    for pick in (pick for tables in picks.values() for pick in tables):
        for name, column in pick.columns.items():
            if is_image(name) and not isinstance(column, Pictures):
                return column.shape[1], config.size or column.shape[2]
    raise ValueError(f"data set {config.name} has no image that can be read")


def count_coloured(picks: Picks, orders: Orders, notes: Mapping[str, PartNote]) -> dict[str, int]:
    """Column -> how many grey images it has, which get three equal channels in a set in colour; without columns that
    have none."""
    found = Counter[str]()
    for (split, index), parts in orders.items():
        name = next(name for name, column in picks[split][index].columns.items() if isinstance(column, Pictures))
        found[name] += sum(notes[part.path].counts.get("grey", 0) for part in parts)
    return {name: count for name, count in sorted(found.items()) if count}


def create_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """A new array in a file. Its space on disk is reserved, so that a full disk is an error here and no crash later."""
    array: NDArray[Any] = open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def join_parts(
    path: Path, parts: Sequence[Part], notes: Mapping[str, PartNote], shape: tuple[int, ...]
) -> NDArray[Any]:
    """Writes a column of the images of all parts; in a set in colour, grey images get three equal channels."""
    array = create_array(path, np.uint8, shape)
    start = 0
    for part in parts:
        if count := notes[part.path].shape[0]:
            array[start : start + count] = array_of(part, notes[part.path])
            start += count
    return array


def copy_rows(path: Path, name: str, column: Any, rows: Rows, config: DataConfig) -> NDArray[Any]:
    """Writes a column of some rows of an array, images resized."""
    images = is_image(name)
    side = config.size or column.shape[-1]
    shape = (len(rows), column.shape[1], side, side) if images else (len(rows),)
    array = create_array(path, column.dtype, shape)
    for start in range(0, len(rows), CHUNK):
        chunk = column[rows[start : start + CHUNK]]
        array[start : start + CHUNK] = resize(chunk, look_of(config)) if images else chunk
    return array


def walk(splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[tuple[str, int, str, Any]]:
    """Every column as (split, table index, column name, column), in one order."""
    for split, tables in sorted(splits.items()):
        for index, table in enumerate(tables):
            for name in sorted(table):
                yield split, index, name, table[name]


def file_name(split: str, index: int, column: str) -> str:
    """Where a column of table number `index` lies in a cache folder."""
    return f"{split}-{index}-{column}.npy"


def content_hash(written: Written) -> str:
    """16 hexadecimal digits of sha256 over the names, types, shapes and contents of all columns."""
    found = hashlib.sha256()
    for split, index, name, array in walk(written):
        found.update(json.dumps([split, index, name, str(array.dtype), list(array.shape)]).encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:16]
