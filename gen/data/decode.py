"""Encoded images to uint8 arrays: centre crop, antialiased resize, grey or colour. It imports NumPy and Pillow only, so
that processes which only decode start in a fraction of a second."""

from __future__ import annotations

import contextlib
import io
import re
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

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
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
GREY = ("1", "L", "LA", "La")
GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N", "I")  # what versions of Pillow call the 16-bit grey of PNG and TIFF


class DamagedError(Exception):
    """An image that cannot be decoded; the text says why."""


def decode(data: bytes) -> Image.Image:
    """An encoded image as mode L or RGB, turned upright as its EXIF says. DamagedError if it cannot be decoded.

    16-bit grey is scaled to 8 bits; CMYK and palettes become RGB; transparency is dropped.
    """
    try:
        with Image.open(io.BytesIO(data)) as file:
            file.load()
            image: Image.Image = file
            if "exif" in image.info:
                with contextlib.suppress(*FAULTS):  # turning comes first; then its tags are written, which may fail
                    ImageOps.exif_transpose(image, in_place=True)
            if image.mode in GREY_16:
                wide = np.asarray(image).astype(np.int64)
                if not 0 <= wide.min() <= wide.max() <= 65535:
                    raise DamagedError("its values are not of 16 bits")
                return Image.fromarray(((wide + 128) // 257).astype(np.uint8))  # 65535 -> 255, nearest
            if image.mode == "F":
                raise DamagedError("its pixels are floats of unknown range")
            return image.convert("L" if image.mode in GREY else "RGB")
    except FAULTS as error:
        text = re.sub(r" <_io.BytesIO[^>]*>", "", " ".join(str(error).split()))  # an address that differs each time
        raise DamagedError(text[:120] or type(error).__name__) from error


def fit_square(image: Image.Image, size: int, kind: str) -> Image.Image:
    """The largest centred square of an image, resized to `size` pixels a side; size 0: the image unchanged."""
    if not size:
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if side == size:
        return image.crop((left, top, left + side, top + side))
    return image.resize((size, size), FILTERS[kind], box=(left, top, left + side, top + side))


def pixels(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    """uint8 (C, H, W) of an image of mode L or RGB, grey repeated where `channels` is 3."""
    array = np.asarray(image)
    if array.ndim == 2:
        return np.broadcast_to(array, (channels, *array.shape))
    return array.transpose(2, 0, 1)


def resize(images: NDArray[Any], size: int, kind: str) -> NDArray[np.uint8]:
    """Images (N, C, H, W) resized to `size` pixels a side by `fit_square`; unchanged for size 0 and for their own size.

    Pillow resizes bytes by integer arithmetic: the same pixels, and so the same hash, on every machine.
    """
    if size in (0, images.shape[-1]):
        return images
    out = np.empty((*images.shape[:2], size, size), np.uint8)
    for number, channels in enumerate(images):
        for channel, plane in enumerate(channels):
            out[number, channel] = np.asarray(fit_square(Image.fromarray(plane), size, kind))
    return out
