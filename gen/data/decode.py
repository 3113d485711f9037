"""Encoded images to uint8 arrays: how deep pixels are scaled, what lies behind transparent ones, how an image becomes a
square. It imports NumPy and Pillow only, so that processes which only decode start in a fraction of a second."""

from __future__ import annotations

import contextlib
import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, PngImagePlugin

FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
FAULTS = (  # what Pillow raises for a file that is cut, overwritten, or no image
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
GREY = ("1", "L", "LA", "La")
ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")  # grey of more than 8 bits, and floats
WHITES = (255, 1023, 4095, 16383, 65535, 2**32 - 1)  # the largest values of 8, 10, 12, 14, 16 and 32 bits
BACKGROUNDS = {"white": 255, "grey": 128, "black": 0}
MOST_PIXELS = 2 * 89_478_485  # of an image; Pillow refuses more, for a small file may unfold into all memory
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # a tag of TIFF, and its value where the least number is white

PngImagePlugin.MAX_TEXT_CHUNK = 64 << 20  # bytes of a text or a colour profile; Pillow's 1 MiB is less than some have
PngImagePlugin.MAX_TEXT_MEMORY = 256 << 20


class DamagedError(Exception):
    """An image that cannot be decoded; the text says why."""


@dataclass(frozen=True)
class Look:
    """How an encoded image becomes pixels. Picklable."""

    size: int = 0  # pixels a side; 0: as the image has them
    filter: str = "bilinear"  # of resizing
    fit: str = "crop"  # what makes a square of another shape: crop, pad or stretch
    background: str = "white"  # behind transparent pixels, and beside an image that is padded
    white: float = 0.0  # the value of deep pixels that is white; 0: the least that holds the image's own


@dataclass(frozen=True)
class Decoded:
    """An image of mode L or RGB, and what was done to its pixels."""

    image: Image.Image
    transparent: bool = False  # some of its pixels were, and the background was put behind them
    several: bool = False  # its file has more pictures (an animation, pages), of which this is the first
    white: float = 0.0  # the value that became white, of pixels deeper than 8 bits; 0: they were not
    upper: int = -1  # of 16 bits a colour, whose upper 8 Pillow reads: the largest; -1: it has not so many


def decode(data: bytes) -> Image.Image:
    """An encoded image as mode L or RGB, as `examine` reads it. DamagedError if it cannot be decoded."""
    return examine(data, Look()).image


def examine(data: bytes, look: Look) -> Decoded:
    """An encoded image as mode L or RGB, turned upright as its EXIF says, in its own size, and what was done to it.
    DamagedError if it cannot be decoded.

    Grey of more than 8 bits, and floats, are scaled so that `look.white` becomes 255; transparent pixels show
    `look.background`; CMYK and palettes become RGB; of an animation the first frame is taken.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size, and of tags: the pixels tell whether a file is sound
            with Image.open(io.BytesIO(data)) as file:
                return to_bytes(file, look)
    except Image.DecompressionBombError:
        raise DamagedError(
            f"it has more than {MOST_PIXELS:,} pixels, the most that are read; make it smaller"
        ) from None
    except FAULTS as error:
        text = re.sub(r" <_io.BytesIO[^>]*>", "", " ".join(str(error).split()))  # an address that differs each time
        raise DamagedError(text[:120] or type(error).__name__) from error


def to_bytes(file: ImageFile.ImageFile, look: Look) -> Decoded:
    """As `examine`, of a file that Pillow has opened and not yet read."""
    several = bool(getattr(file, "is_animated", False))
    layout = str([tile[3] for tile in file.tile])  # of the pixels in the file, such as RGB;16B
    wide = ";16" in layout and file.mode not in DEEP
    inverted = dict(getattr(file, "tag_v2", {})).get(PHOTOMETRIC) == WHITE_IS_ZERO
    file.load()
    image: Image.Image = file
    if "exif" in image.info:
        with contextlib.suppress(*FAULTS):  # turning comes first; then its tags are written, which may fail
            ImageOps.exif_transpose(image, in_place=True)
    if image.mode in DEEP:
        told = file.format == "PPM"  # the file says its largest value, by which Pillow has scaled
        flat, transparent, white = flatten(image, 65535.0 if told else look.white, look.background, inverted)
        return Decoded(flat, transparent, several, 0.0 if told else white)
    flat, transparent = compose(image, look.background, grey=image.mode in GREY or "LA;16" in layout)
    upper = int(np.asarray(image.convert("RGB")).max()) if wide else -1
    return Decoded(flat, transparent, several, upper=upper)


def flatten(image: Image.Image, white: float, background: str, inverted: bool) -> tuple[Image.Image, bool, float]:
    """A deep grey image as mode L; whether some of its pixels were transparent; the value that became 255, which is
    `white` unless that is 0. `inverted`: the least value is white. DamagedError if values are below 0, above `white`,
    or no numbers."""
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise DamagedError("some of its pixels are no finite numbers")
    if low < 0:
        raise DamagedError(f"its values go down to {low:g}; those from 0 up are read")
    white = white or white_of(high, image.mode == "F")
    if high > white:
        raise DamagedError(f"its values go up to {high:g}, above data.white={white:g}")
    shades = np.rint((white - values if inverted else values) * (255 / white)).astype(np.uint8)
    clear = values == image.info.get("transparency", -1)
    shades[clear] = BACKGROUNDS[background]
    return Image.fromarray(shades), bool(clear.any()), white


def white_of(high: float, floats: bool) -> float:
    """The least usual largest value that holds `high`: 1 for floats, else that of 8, 10, 12, 14, 16 or 32 bits."""
    return next(float(white) for white in ((1,) if floats else ()) + WHITES + (high,) if high <= white)


def compose(image: Image.Image, background: str, grey: bool) -> tuple[Image.Image, bool]:
    """An image as mode L or RGB with the background behind its transparent pixels, and whether it has such."""
    mode = "L" if grey else "RGB"
    if image.mode in ALPHA or "transparency" in image.info:
        clear = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        if clear.getchannel("A").getextrema()[0] != 255:
            shade = BACKGROUNDS[background]
            ground = Image.new("RGBA", image.size, (shade, shade, shade, 255))
            return Image.alpha_composite(ground, clear).convert(mode), True
    return image.convert(mode), False


def fit_square(image: Image.Image, look: Look) -> Image.Image:
    """A square of `look.size` pixels a side of an image; size 0: the image unchanged. Of images that are not square it
    is the largest centred square ("crop"), all of it on a background ("pad"), or all of it, distorted ("stretch")."""
    size, kind = look.size, FILTERS[look.filter]
    if not size:
        return image
    if image.width != image.height and look.fit == "stretch":
        return image.resize((size, size), kind)
    if image.width != image.height and look.fit == "pad":
        side, shade = max(image.size), BACKGROUNDS[look.background]
        width, height = (max(1, round(length * size / side)) for length in image.size)
        ground = Image.new(image.mode, (size, size), shade if image.mode == "L" else (shade, shade, shade))
        ground.paste(image.resize((width, height), kind), ((size - width) // 2, (size - height) // 2))
        return ground
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if side == size:
        return image.crop((left, top, left + side, top + side))
    return image.resize((size, size), kind, box=(left, top, left + side, top + side))


def pixels(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    """uint8 (C, H, W) of an image of mode L or RGB, grey repeated where `channels` is 3."""
    array = np.asarray(image)
    if array.ndim == 2:
        return np.broadcast_to(array, (channels, *array.shape))
    return array.transpose(2, 0, 1)


def resize(images: NDArray[Any], look: Look) -> NDArray[np.uint8]:
    """Images (N, C, H, W) made squares of `look.size` pixels a side by `fit_square`; unchanged for size 0 and for their
    own size.

    Pillow resizes bytes by integer arithmetic: the same pixels, and so the same hash, on every machine.
    """
    if not look.size or images.shape[2:] == (look.size, look.size):
        return images
    out = np.empty((*images.shape[:2], look.size, look.size), np.uint8)
    for number, channels in enumerate(images):
        for channel, plane in enumerate(channels):
            out[number, channel] = np.asarray(fit_square(Image.fromarray(plane), look))
    return out
