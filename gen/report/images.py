"""Stored pictures as parts of a page: as few bytes as hold the same pixels, within a budget."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, features

LEAST = 0.25  # of a picture's rows that are worth showing
BUDGET = 1_200_000  # bytes of all pictures of a page, as text
DESCRIPTION = "Description"  # the PNG keyword under which a file holds its caption, as gen/pictures/files.py writes it


@dataclass(frozen=True)
class Embedded:
    """A picture as a page holds it."""

    uri: str  # data:image/...
    width: int  # pixels, each of which is one of the model's images
    height: int
    caption: str  # that the file holds; "": none
    rows: float = 1.0  # share of its rows that is shown, from the top


@dataclass
class Album:
    """What a page may still hold of pictures, and what it left out."""

    left: int = BUDGET
    refused: int = 0  # for want of room
    unreadable: int = 0  # for they are no pictures that Pillow reads
    kept: dict[bytes, Embedded] = field(default_factory=dict)  # a picture that is shown twice counts once

    def take(self, png: bytes, most: int = 0) -> Embedded | None:
        """The picture, or the upper part of it that takes no more than `most` bytes (0: as many as are left); None,
        counted, if the page has no room for any of it, or if it cannot be read."""
        if png in self.kept:
            return self.kept[png]
        try:
            made = embed(png, min(most or self.left, self.left))
        except (OSError, SyntaxError, Image.DecompressionBombError):  # all that Pillow has for what is no PNG
            self.unreadable += 1
            return None
        if made is None:
            self.refused += 1
            return None
        self.left -= len(made.uri)
        self.kept[png] = made
        return made


def embed(png: bytes, most: int) -> Embedded | None:
    """A PNG file as a data URI of at most so many bytes: shrunk by the whole pixels by which it was enlarged, and coded
    without loss. Where that is too long, the upper rows of its tiles, as many as fit; None if those are less than a
    quarter."""
    image = Image.open(io.BytesIO(png))
    caption = str(getattr(image, "text", {}).get(DESCRIPTION, ""))
    pixels = shrink(np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB")))
    ends = [len(pixels), *(end for end in reversed(white_lines(pixels)) if end >= LEAST * len(pixels))]
    while ends:
        uri = encode(pixels[: ends[0]])
        if len(uri) <= most:
            return Embedded(uri, pixels.shape[1], ends[0], caption, ends[0] / len(pixels))
        fits = ends[0] * most / len(uri)  # an estimate, which skips what is far too long
        ends = [end for end in ends[1:] if end <= 1.2 * fits]
    return None


def shrink(pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W[, C]) before each was enlarged to a square of equal ones; as they are if none was."""
    height, width = pixels.shape[:2]
    for size in range(min(height, width), 1, -1):
        if height % size or width % size:
            continue
        small = pixels[::size, ::size]
        if np.array_equal(np.repeat(np.repeat(small, size, 0), size, 1), pixels):
            return small
    return pixels


def white_lines(pixels: np.ndarray) -> list[int]:
    """The heights, below the first row of tiles, at which a picture of tiles can be cut: below each white line."""
    white = (pixels == 255).reshape(len(pixels), -1).all(axis=1)
    ends = np.flatnonzero(white[:-1] & ~white[1:]) + 1  # a line is followed by tiles
    return [int(end) for end in ends if end > 1 and end < len(pixels) and not white[:end].all()]


def encode(pixels: np.ndarray) -> str:
    """Pixels (H, W[, C]), of 8 bits, as a data URI: WebP without loss, or PNG where that is smaller. More
    effort than this takes fifty times as long, for a thousandth of the bytes."""
    image, found = Image.fromarray(pixels), list[str]()
    for kind, how in (("webp", {"lossless": True, "quality": 40, "method": 3}), ("png", {"optimize": True})):
        if kind == "webp" and (not features.check("webp") or max(image.size) > 16383):
            continue
        buffer = io.BytesIO()
        image.save(buffer, kind, **how)
        found.append(f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}")
    return min(found, key=len)
