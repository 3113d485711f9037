"""Decoding in parts: a part is a slice of the sorted list of files and becomes one array, stored whole or not at all.
So any process that reaches the files can make any part, in any order, and a kill costs the parts in the making."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen.damage import is_sealed, remark, sealed
from gen.data.decode import DamagedError, Decoded, Look, decode, examine, fit_square, pixels
from gen.data.places import reader, without_secrets
from gen.data.raw import File, Pictures
from gen.results.storage import Storage

BYTES = 32 << 20  # of a part's array, about
ENCODED = 64 << 20  # bytes of a part's files, about: so a kill costs a minute at most, with photographs too
MOST = 2048  # images of a part, at most
FEW = 16 << 20  # bytes of files below which no processes are started
NAMED = 10  # damaged images that an error names
COUNTED: Mapping[str, Callable[[Decoded], bool]] = {  # what is told of images -> whether it holds for one
    "grey": lambda found: found.image.mode == "L",
    "transparent": lambda found: found.transparent,
    "several": lambda found: found.several,
    "deep": lambda found: found.white > 0,
    "wide": lambda found: found.upper >= 0,
}
TRIES = 10  # images of which the first that can be decoded tells the size


@dataclass(frozen=True)
class Part:
    """A part to make: which files are decoded, how, and where the array goes. Picklable."""

    place: str  # where the files are
    names: Sequence[str]
    look: Look  # how they become pixels
    shelf: Storage  # where its array and its note go ...
    path: str  # ... as PATH.npy and PATH.json
    bytes: int  # of the files
    shown: str = ""  # the place for messages, if another


@dataclass(frozen=True)
class PartNote:
    """What is in the array of a part that was made, and which of its images are damaged."""

    path: str
    shape: tuple[int, int, int, int]  # of its array; (0, 0, 0, 0) where all its images are damaged
    damaged: Mapping[int, str]  # position in the part -> why
    counts: Mapping[str, int] = field(default_factory=dict)  # images that are grey, transparent, ... (`COUNTED`)
    whites: frozenset[float] = frozenset()  # the values of deep pixels that became white
    upper: int = -1  # the largest of the upper 8 bits of 16 bits a colour; -1: no image has so many
    sum: int | None = None  # CRC-32 of the file of its array; None: of an earlier version


Runner: TypeAlias = Callable[[Sequence[Part]], Iterator[int]]
"""Makes all parts, in any order, and yields the number of images of each."""


def make(part: Part) -> int:
    """Decodes the part's images and puts its array, then its note, on the shelf; gives the number of images. ValueError
    if they keep their size (0) and are not all square and of one size."""
    read, images, damaged = reader(part.place), list[Image.Image](), dict[int, str]()
    counts, whites, upper = Counter[str](), set[float](), -1
    for position, name in enumerate(part.names):
        try:
            found = examine(read(name), part.look)
        except DamagedError as error:
            damaged[position] = str(error)
            continue
        image = fit_square(found.image, part.look)
        if image.width != image.height or (images and image.size != images[0].size):
            raise refuse_unlike(part.shown or part.place, name, image.size)
        images.append(image)
        counts.update(name for name, holds in COUNTED.items() if holds(found))
        whites |= {found.white} - {0.0}
        upper = max(upper, found.upper)
    channels = 3 if any(image.mode == "RGB" for image in images) else 1
    side = images[0].width if images else 0
    array = np.empty((len(images), channels, side, side), np.uint8)
    for number, image in enumerate(images):
        array[number] = pixels(image, channels)
    buffer = io.BytesIO()
    np.save(buffer, array)
    part.shelf.put(f"{part.path}.npy", buffer.getvalue())
    note = {
        "shape": array.shape if images else (0, 0, 0, 0),
        "damaged": damaged,
        "counts": counts,
        "whites": sorted(whites),
        "upper": upper,
        "sum": zlib.crc32(buffer.getbuffer()),
    }
    part.shelf.put(f"{part.path}.json", json.dumps(sealed(note)).encode())
    return len(part.names)


def refuse_unlike(place: str, name: str, size: tuple[int, int]) -> ValueError:
    """The error for images that need a common size."""
    return ValueError(
        f"images must be square and of one size, but {name!r} of {without_secrets(place)} is {size[0]}x{size[1]}; "
        f"give --size, which crops them to their centre (or by data.fit pads or stretches them) and resizes them"
    )


def here(parts: Sequence[Part]) -> Iterator[int]:
    """Makes parts on this machine, in one process for each of its processors. Threads do not serve: for small images
    Pillow holds Python's lock most of the time, and many threads took longer than one."""
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
        get_reusable_executor().shutdown(wait=True)  # else its processes idle for minutes beside the training


def cut(pictures: Pictures, rows: NDArray[np.int64], look: Look, shelf: Storage, path: str) -> list[Part]:
    """The parts for `rows` of a column. Slices depend on the files alone, not on who makes them."""
    files = [pictures.files[row] for row in rows]
    side = look.size or first_side(pictures, rows)
    most = int(np.clip(BYTES // max(3 * side * side, 1), 16, MOST))
    return [
        Part(
            pictures.place,
            [file.name for file in piece],
            look,
            shelf,
            f"{path}-{number:05d}-{digest(piece)}",
            sum(file.size for file in piece),
            pictures.shown,
        )
        for number, piece in enumerate(slice_files(files, most))
    ]


def slice_files(files: Sequence[File], most: int) -> Iterator[Sequence[File]]:
    """Files in slices of at most `most`, and of about ENCODED bytes."""
    piece: list[File] = []
    size = 0
    for file in files:
        if len(piece) == most or (piece and size + file.size > ENCODED):
            yield piece
            piece, size = [], 0
        piece.append(file)
        size += file.size
    if piece:
        yield piece


def first_side(pictures: Pictures, rows: NDArray[np.int64]) -> int:
    """Width of the first image that can be decoded among the first few; 0 if none of them can."""
    read = reader(pictures.place)
    for row in rows[:TRIES]:
        try:
            return decode(read(pictures.files[row].name)).width
        except DamagedError:
            continue
    return 0


def note_of(part: Part) -> PartNote | None:
    """The note of a part; None if the part is not made, or was made of another number of images, or if its note is
    damaged, which a remark says."""
    text = part.shelf.get(f"{part.path}.json")
    if text is None:
        return None
    try:
        note = json.loads(text)
    except ValueError:
        note = None
    if not isinstance(note, dict) or not is_sealed(note):
        remark(f"{part.shelf}/{part.path}.json was damaged, and the part was made anew")
        return None
    if "counts" not in note:  # of an earlier version, which took some pixels for others
        return None
    shape, damaged = tuple(note["shape"]), {int(key): why for key, why in note["damaged"].items()}
    whites = frozenset(note["whites"])
    found = PartNote(part.path, shape, damaged, note["counts"], whites, note["upper"], note.get("sum"))
    return found if shape[0] + len(damaged) == len(part.names) else None


def array_of(part: Part, note: PartNote) -> NDArray[np.uint8]:
    """The part's images (n, C, H, W). A damaged array is made anew, with a remark. RuntimeError if it is gone from the
    shelf."""
    data = part.shelf.get(f"{part.path}.npy")
    if data is not None and note.sum is not None and zlib.crc32(data) != note.sum:
        make(part)
        data = part.shelf.get(f"{part.path}.npy")
        remark(f"{part.shelf}/{part.path}.npy was damaged, and was made anew")
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
