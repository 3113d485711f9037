"""What was done to the images of a set, or left out of it, in words: nothing is dropped without a line for it."""

from __future__ import annotations

from collections.abc import Iterator

from gen.config import DataConfig
from gen.data.dataset import Dataset

LISTED = 10  # most images left out that are named


def notices(dataset: Dataset) -> list[str]:
    """A line for each thing that was done to images on the way, or for which files were left out."""
    return [
        *tell_aside(dataset),
        *tell_pixels(dataset),
        *tell_grey(dataset),
        *tell_damaged(dataset),
        *tell_splits(dataset),
    ]


def tell_aside(dataset: Dataset) -> Iterator[str]:
    """Lines about files that are no part of the set, and about what tells its classes."""
    if told := dataset.manifest.get("told"):
        count = len(dataset.manifest["classes"])
        yield f"classes: {told!a} tells {f'the {count} of them' if count else 'that there are none'}; folders do not"
    for why, (count, such_as) in dataset.manifest.get("aside", {}).items():
        yield f"aside: {count:,} {why}, such as {such_as!a}"


def tell_pixels(dataset: Dataset) -> Iterator[str]:
    """Lines about pixels that are not what the files hold."""
    done = dataset.manifest.get("pixels", {})
    shade = dataset.manifest.get("settings", {}).get("background", DataConfig.background)
    lines = {
        "transparent": f"images had transparent pixels, which became {shade} (data.background)",
        "several": "files hold several pictures, such as frames or pages, of which the first was taken",
        "deep": f"images of more than 8 bits were scaled so that {done.get('white', 0):.10g} is white (data.white)",
        "wide": "images of 16 bits a colour were read by their upper 8 bits",
    }
    for name, line in lines.items():
        if done.get(name):
            yield f"{name}: {done[name]:,} {line}"


def tell_grey(dataset: Dataset) -> Iterator[str]:
    """Lines about grey images among those in colour."""
    for column, count in dataset.manifest.get("coloured", {}).items():
        yield f"grey: {count:,} images of column {column} became three equal channels, for others are in colour"


def tell_damaged(dataset: Dataset) -> Iterator[str]:
    """Lines about images that `skip_bad` left out."""
    skipped = dataset.manifest.get("skipped", [])
    for image in skipped[:LISTED]:
        yield f"left out: {image['image']!a}: {image['why']}"
    if len(skipped) > LISTED:
        yield f"left out: {len(skipped) - LISTED} more, all in the manifest"


def tell_splits(dataset: Dataset) -> Iterator[str]:
    """Lines about training images that are not used, and about classes that a split has no image of."""
    manifest = dataset.manifest
    if chosen_of := manifest.get("chosen_of"):
        whole = "+".join(f"{count:,}" for count in chosen_of)
        used = f"{manifest['settings']['images']:,}"
        over = f", balanced over {dataset.shape.classes} classes" if dataset.shape.classes else ""
        yield f"images: {used} of {whole} training images are used{over} (data.images)"
    for split, count in manifest.get("without", {}).items():
        advice = "; data.stratified=true holds out some of each" if not manifest["settings"].get("stratified") else ""
        yield f"{split}: no images of {count:,} of {dataset.shape.classes:,} classes{advice}"
