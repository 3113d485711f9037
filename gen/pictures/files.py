"""Pictures as files: tensors and plots to PNG, frames to GIF."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torch.nn import functional as F

from gen.data.stream import to_uint8

if TYPE_CHECKING:  # takes a second to import, and a process that trains plots nothing
    from matplotlib.figure import Figure

SIDE = 800  # least pixels of a picture's longer side
CAPTION = 28  # pixels of a line of text above a picture
MARGIN = 6  # pixels on both sides of a line
DESCRIPTION = "Description"  # the PNG keyword under which a file holds its caption as text
FRAME, PAUSE = 120, 800  # milliseconds that a frame is shown, and the first and the last frame


def tile(images: Tensor, columns: int) -> Tensor:
    """One picture (C, H', W') of images (N, C, H, W), a white line between them and around; the last row may be short.

    Not torchvision's make_grid, which turns grey into colour, leaves the line around a single image out, and takes
    seconds to import where training draws.
    """
    rows = -(-len(images) // columns)
    missing = images.new_ones(rows * columns - len(images), *images.shape[1:])
    cells = F.pad(torch.cat([images, missing]), (1, 0, 1, 0), value=1.0)
    channels, height, width = cells.shape[1:]
    grid = cells.view(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)  # (C, rows, H + 1, columns, W + 1)
    return F.pad(grid.reshape(channels, rows * height, columns * width), (0, 1, 0, 1), value=1.0)


def beside(parts: Sequence[Tensor], gap: int = 4) -> Tensor:
    """One picture (C, H, W') of pictures (C, H, W) of one height, `gap` white pixels between them."""
    white = parts[0].new_ones(*parts[0].shape[:2], gap)
    apart = [piece for part in parts for piece in (part, white)]
    return torch.cat(apart[:-1], dim=2)


def png(picture: Tensor, caption: str = "", written: bool = True) -> bytes:
    """A PNG file of a picture (C, H, W) in [-1, 1], enlarged by whole pixels to at least `SIDE`, below its caption, or
    with the caption as text in the file alone, if it is not to be `written` above."""
    buffer, about = io.BytesIO(), PngInfo()
    image = enlarge(picture)
    if caption:
        image = with_caption(image, caption) if written else image
        about.add_itxt(DESCRIPTION, caption)
    image.save(buffer, "PNG", pnginfo=about)
    return buffer.getvalue()


def gif(frames: Sequence[Tensor], caption: str = "") -> bytes:
    """A GIF file that shows pictures (C, H, W) in [-1, 1] one after another, for ever, each below the caption; it rests
    at both ends."""
    images = [enlarge(frame) for frame in frames]
    return animate([with_caption(image, caption) if caption else image for image in images], FRAME, caption)


def animate(frames: Sequence[Image.Image], milliseconds: int, caption: str = "") -> bytes:
    """A GIF file that shows images one after another, each for so long, for ever; it rests at both ends. Frames in a
    row that are equal in every pixel become one. The file holds the caption as text."""
    first, *others = frames
    times = [PAUSE if number in (0, len(others)) else milliseconds for number in range(len(frames))]
    buffer = io.BytesIO()
    comment = caption.encode(errors="replace")
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=times, loop=0, comment=comment)
    return buffer.getvalue()


def enlarge(picture: Tensor) -> Image.Image:
    """An image of a picture (C, H, W) in [-1, 1], grey or in colour, each pixel drawn as a square of pixels."""
    array = to_uint8(picture).cpu().permute(1, 2, 0).numpy()
    image = Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
    scale = max(1, -(-SIDE // max(image.size)))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def with_caption(image: Image.Image, text: str, lines: int = 1) -> Image.Image:
    """An image, grey or in colour, below its caption, which takes at least so many lines."""
    rows = caption_rows(text, image.width)
    height = CAPTION * max(len(rows), lines)
    page = Image.new(image.mode, (image.width, image.height + height), "white")
    page.paste(image, (0, height))
    draw = ImageDraw.Draw(page)
    for number, row in enumerate(rows):
        draw.text((MARGIN, CAPTION * number + 2), row, fill="black", font=caption_font())
    return page


def caption_rows(text: str, width: int) -> list[str]:
    """The lines of a caption above a picture of this width, in pixels. A word that is longer than a line is cut."""
    font, most = caption_font(), width - 2 * MARGIN
    rows = [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}".strip()
        if font.getlength(longer) <= most:
            rows[-1] = longer
            continue
        rows += [word] if rows[-1] else []
        rows[-1] = word
        while len(rows[-1]) > 1 and font.getlength(rows[-1]) > most:
            cuts = range(2, len(rows[-1]))
            fits = next((cut - 1 for cut in cuts if font.getlength(rows[-1][:cut]) > most), len(rows[-1]) - 1)
            rows[-1:] = [rows[-1][:fits], rows[-1][fits:]]
    return rows


@functools.cache
def caption_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of captions."""
    return ImageFont.load_default(CAPTION - 8)


def plot_png(figure: Figure, caption: str = "") -> bytes:
    """A PNG file of a plot, which holds the caption as text."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={DESCRIPTION: caption} if caption else None)
    return buffer.getvalue()
