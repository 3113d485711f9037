"""Decoding in parts: a part is a slice of the sorted list of files and becomes one array, put in place whole. So parts
are made by any process that reaches the files, in any order, and a kill costs those that were being made."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen.data.decode import DamagedError, decode, fit_square, pixels
from gen.data.places import reader, without_secrets
from gen.data.raw import File, Pictures
from gen.results.storage import Storage

BYTES = 32 << 20  # of a part's array, about
ENCODED = 64 << 20  # bytes of a part's files, about: what a kill may cost is a minute, with photographs too
MOST = 2048  # images of a part
FEW = 16 << 20  # bytes of files for which no processes are started
NAMED = 10  # damaged images that an error names


@dataclass(frozen=True)
class Part:
    """An order for one part. Picklable."""

    place: str  # where the files are
    names: Sequence[str]
    size: int  # pixels a side; 0: as they are
    filter: str
    shelf: Storage  # where the part goes ...
    path: str  # ... under this name, and .npy and .json
    bytes: int  # of the files


@dataclass(frozen=True)
class Made:
    """What a part holds."""

    path: str
    shape: tuple[int, int, int, int]  # of its array; (0, 0, 0, 0) where all its images are damaged
    damaged: Mapping[int, str]  # position in the part -> why


Runner: TypeAlias = Callable[[Sequence[Part]], Iterator[int]]
"""Makes all parts, in any order, and yields the number of images of each."""


def make(part: Part) -> int:
    """Decodes the part's images and puts its array, then its note, on the shelf; gives their number. ValueError if,
    with size 0, they are not square and alike."""
    read, images, damaged = reader(part.place), list[Image.Image](), dict[int, str]()
    for position, name in enumerate(part.names):
        try:
            image = fit_square(decode(read(name)), part.size, part.filter)
        except DamagedError as error:
            damaged[position] = str(error)
            continue
        if image.width != image.height or (images and image.size != images[0].size):
            raise unlike(part.place, name, image.size)
        images.append(image)
    channels = 3 if any(image.mode == "RGB" for image in images) else 1
    side = images[0].width if images else 0
    array = np.empty((len(images), channels, side, side), np.uint8)
    for number, image in enumerate(images):
        array[number] = pixels(image, channels)
    buffer = io.BytesIO()
    np.save(buffer, array)
    part.shelf.put(f"{part.path}.npy", buffer.getvalue())
    note = {"shape": array.shape if images else (0, 0, 0, 0), "damaged": damaged}
    part.shelf.put(f"{part.path}.json", json.dumps(note).encode())
    return len(part.names)


def unlike(place: str, name: str, size: tuple[int, int]) -> ValueError:
    """The error for images that need a common size."""
    return ValueError(
        f"images must be square and of one size, but {name!r} of {without_secrets(place)} is {size[0]}x{size[1]}; "
        f"give --size, which crops them to their centre and resizes them"
    )


def here(parts: Sequence[Part]) -> Iterator[int]:
    """Makes parts with the processors of this machine, in processes of their own: for small images Pillow holds
    Python's lock most of the time, and threads took longer than one thread alone."""
    import joblib  # starts its processes without importing the caller's main file
    from joblib.externals.loky import get_reusable_executor

    count = min(joblib.cpu_count(), len(parts))
    if count < 2 or sum(part.bytes for part in parts) < FEW:
        for part in parts:
            yield make(part)
        return
    work = (joblib.delayed(make)(part) for part in parts)
    try:
        yield from joblib.Parallel(count, backend="loky", batch_size=1, return_as="generator_unordered")(work)
    finally:
        get_reusable_executor().shutdown(wait=True)  # else they idle for minutes beside the training


def cut(pictures: Pictures, rows: NDArray[np.int64], size: int, kind: str, shelf: Storage, path: str) -> list[Part]:
    """The orders for `rows` of a column: fixed slices, whatever makes them."""
    files = [pictures.files[row] for row in rows]
    side = size or first_side(pictures, rows)
    most = int(np.clip(BYTES // max(3 * side * side, 1), 16, MOST))
    return [
        Part(
            pictures.place,
            [file.name for file in piece],
            size,
            kind,
            shelf,
            f"{path}-{number:05d}-{digest(piece)}",
            sum(file.size for file in piece),
        )
        for number, piece in enumerate(slice_files(files, most))
    ]


def slice_files(files: Sequence[File], most: int) -> Iterator[Sequence[File]]:
    """Files in slices of at most `most`, and of about ENCODED bytes."""
    piece: list[File] = []
    held = 0
    for file in files:
        if len(piece) == most or (piece and held + file.size > ENCODED):
            yield piece
            piece, held = [], 0
        piece.append(file)
        held += file.size
    if piece:
        yield piece


def first_side(pictures: Pictures, rows: NDArray[np.int64]) -> int:
    """Width of the first image that can be decoded of the first few; 0 if none can."""
    read = reader(pictures.place)
    for row in rows[:NAMED]:
        try:
            return decode(read(pictures.files[row].name)).width
        except DamagedError:
            continue
    return 0


def note_of(part: Part) -> Made | None:
    """What the part holds; None if it is not made, or not of as many images as was ordered."""
    text = part.shelf.get(f"{part.path}.json")
    if text is None:
        return None
    note = json.loads(text)
    shape, damaged = tuple(note["shape"]), {int(key): why for key, why in note["damaged"].items()}
    return Made(part.path, shape, damaged) if shape[0] + len(damaged) == len(part.names) else None


def array_of(part: Part) -> NDArray[np.uint8]:
    """The part's images (n, C, H, W). RuntimeError if the shelf lost it."""
    if part.shelf.is_local:
        found: NDArray[np.uint8] = np.load(f"{part.shelf.place}/{part.path}.npy", mmap_mode="r")
        return found
    data = part.shelf.get(f"{part.path}.npy")
    if data is None:
        raise RuntimeError(f"{part.shelf}/{part.path}.npy is gone; prepare again")
    loaded: NDArray[np.uint8] = np.load(io.BytesIO(data))
    return loaded


def digest(files: Sequence[File]) -> str:
    """16 hexadecimal digits of the names, sizes and stamps of files."""
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file.size} {file.stamp} ".encode() + os.fsencode(file.name) + b"\n")
    return found.hexdigest()[:16]


def refuse_damaged(where: str, names: Sequence[str], reasons: Sequence[str]) -> ValueError:
    """The error that names up to ten damaged images."""
    first = "; ".join(f"{name!r}: {why}" for name, why in list(zip(names, reasons, strict=True))[:NAMED])
    more = f"; and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ValueError(
        f"{len(names)} images of {where} cannot be read: {first}{more}; replace them, or leave them out by --skip-bad"
    )
