"""A user's images in another domain: what `python -m jobs.sample --translate FOLDER` does."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from gen.data.decode import DamagedError, Look, examine, pixels
from gen.data.folders import COPIES, HIDDEN, Found, images_of, is_picture
from gen.data.parts import COUNTED
from gen.data.places import is_archive, normal, reader, without_secrets
from gen.data.stream import from_uint8, to_uint8
from gen.engine.load import Trained
from gen.results.storage import Storage, one_line, put_local

DONE = {  # what was done to pixels, as `gen.data.notices` tells of a set
    "transparent": "had transparent pixels, which became the run's data.background",
    "several": "hold several pictures, such as frames or pages, of which the first was taken",
    "deep": "are deeper than 8 bits; of each the largest value of as few bits as hold it, or data.white, is white",
    "wide": "have 16 bits a colour, of which the upper 8 were read",
}


def translate(trained: Trained, place: str, to: str | None, out: Path) -> Iterator[str]:
    """Writes the translation of each image of a place, at the image's own size, as a PNG file of its name below `out`;
    then tells in lines what was written and what was not. ValueError, before anything is written, if the model does not
    translate so, if the place has no images, or if files would be written among them; and if none can be translated."""
    ways = trained.ways(to)
    place = normal(place)
    found = images_of(place)
    names = [file.name for file in found.pictures]
    paths = [out.absolute() / path for path in png_names(names)]
    check_apart(place, names, paths, out)
    return write_all(trained, ways, place, found, paths, out)


def write_all(
    trained: Trained, ways: tuple[str, str], place: str, found: Found, paths: Sequence[Path], out: Path
) -> Iterator[str]:
    """As `translate`, which has checked everything."""
    read, counts, left_out = reader(place), Counter[str](), dict[str, str]()
    look = Look(background=trained.config.data.background, white=trained.config.data.white)
    names = [file.name for file in found.pictures]
    grey_before, grey_after = (trained.shape.channels == 1 or column in trained.grey for column in ways)
    for name, path in zip(names, paths, strict=True):
        try:
            looked = examine(read(name), look)
            image = looked.image
            made = trained.translate(as_batch(image.convert("L") if grey_before else image, trained), ways[1])
        except torch.OutOfMemoryError:
            left_out[name] = "too large for the device's memory"
            continue
        except (DamagedError, OSError) as error:
            left_out[name] = one_line(error)
            continue
        counts["turned grey"] += grey_before and image.mode == "RGB"
        counts["coloured"] += not grey_before and image.mode == "L"
        counts.update(kind for kind, holds in COUNTED.items() if holds(looked))
        counts["replaced"] += path.exists()
        counts["written"] += 1
        put_local(path, png(made[0], grey_after))
    where = without_secrets(place)
    if not counts["written"]:
        name, why = next(iter(left_out.items()))
        raise ValueError(f"none of the {len(names):,} images of {where} can be translated, such as {name!a}: {why}")
    by = f"by {trained.config.entry}, run {trained.run}, epoch {trained.epoch:g}"
    yield f"{out}  {counts['written']:,} of {len(names):,} images of {where} translated to {ways[1]} {by}"
    if counts["turned grey"]:
        yield f"{counts['turned grey']:,} of them in colour became grey first, as the run's images are"
    if counts["coloured"]:
        yield f"{counts['coloured']:,} of them, grey, became three equal channels first"
    for kind, line in DONE.items():
        if counts[kind]:
            yield f"{counts[kind]:,} of them {line}"
    if counts["replaced"]:
        yield f"{counts['replaced']:,} took the places of files that were in {out}"
    others = [file.name for file in found.others if not is_picture(file.name)]
    if others:
        yield f"{len(others):,} other files are no images by their names, such as {others[0]!a}"
    for why, (count, such_as) in found.aside().items():
        if why in (HIDDEN, COPIES):
            yield f"aside: {count:,} {why}, such as {such_as!a}"
    for name, why in left_out.items():
        yield f"left out: {name!a}: {why}"


def as_batch(image: Image.Image, trained: Trained) -> Tensor:
    """A batch (1, C, H, W) in [-1, 1] of an image, with as many channels as the model's; grey ones are equal."""
    array = pixels(image, trained.shape.channels).copy()  # PyTorch warns of arrays that cannot be written
    dtype = next(trained.model.parameters()).dtype
    return from_uint8(torch.from_numpy(array)[None], torch.device("cpu"), dtype)


def png(image: Tensor, grey: bool) -> bytes:
    """A PNG file of an image (C, H, W) in [-1, 1], pixel by pixel, in grey or in colour."""
    array = to_uint8(image).cpu().permute(1, 2, 0).numpy()
    picture = Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
    buffer = io.BytesIO()
    (picture.convert("L") if grey else picture).save(buffer, "PNG")
    return buffer.getvalue()


def png_names(names: Sequence[str]) -> list[str]:
    """A PNG file's name for each image: with .png in place of its ending; but behind it, for all of them, where two
    images differ by their endings only."""
    found = [str(PurePosixPath(name).with_suffix(".png")) for name in names]
    return found if len({*found}) == len(found) else [f"{name}.png" for name in names]


def check_apart(place: str, names: Sequence[str], paths: Sequence[Path], out: Path) -> None:
    """ValueError if translations would lie among the images of a local folder, and be taken for images next time."""
    if not Storage(place).is_local or is_archive(place):
        return
    folder = Path(Storage(place).place).resolve()
    inside = out.resolve().is_relative_to(folder)
    if inside or {folder / name for name in names} & {path.resolve() for path in paths}:
        raise ValueError(f"out={out} would mix translations with the images of {place}; name another folder by --out")
