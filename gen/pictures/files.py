"""Pictures as files: tensors and plots to PNG, frames to GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from gen.data.stream import to_uint8

if TYPE_CHECKING:  # takes a second to import, and a process that trains plots nothing
    from matplotlib.figure import Figure

SIDE = 800  # least pixels of a picture's longer side
CAPTION = 28  # pixels of the line of text above a picture
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


def png(picture: Tensor) -> bytes:
    """A PNG file of a picture (C, H, W) in [-1, 1], enlarged by whole pixels to at least `SIDE`."""
    buffer = io.BytesIO()
    enlarge(picture).save(buffer, "PNG")
    return buffer.getvalue()


def gif(frames: Sequence[Tensor]) -> bytes:
    """A GIF file that shows pictures (C, H, W) in [-1, 1] one after another, for ever; it rests at both ends."""
    return animate([enlarge(frame) for frame in frames], FRAME)


def animate(frames: Sequence[Image.Image], milliseconds: int) -> bytes:
    """A GIF file that shows images one after another, each for so long, for ever; it rests at both ends. Frames in a
    row that are equal in every pixel become one."""
    first, *others = frames
    times = [PAUSE if number in (0, len(others)) else milliseconds for number in range(len(frames))]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=times, loop=0)
    return buffer.getvalue()


def enlarge(picture: Tensor) -> Image.Image:
    """An image of a picture (C, H, W) in [-1, 1], grey or in colour, each pixel drawn as a square of pixels."""
    array = to_uint8(picture).cpu().permute(1, 2, 0).numpy()
    image = Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
    scale = max(1, -(-SIDE // max(image.size)))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def with_caption(data: bytes, text: str) -> Image.Image:
    """The image of a PNG file, grey or in colour, with a line of text above it."""
    with Image.open(io.BytesIO(data)) as image:
        page = Image.new(image.mode, (image.width, image.height + CAPTION), "white")
        page.paste(image, (0, CAPTION))
    ImageDraw.Draw(page).text((6, 2), text, fill="black", font=ImageFont.load_default(CAPTION - 8))
    return page


def plot_png(figure: Figure) -> bytes:
    """A PNG file of a plot."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
