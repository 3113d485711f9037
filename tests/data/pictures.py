"""Small images in true formats, written by the tests."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    """A picture of a mode of Pillow; another seed, another picture."""
    channels = {"L": (), "RGB": (3,), "CMYK": (4,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    return Image.fromarray(pixels, mode)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """The bytes of its file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def files(count: int, folder: str = "", **how: object) -> dict[str, bytes]:
    """`count` PNG files of noise."""
    return {f"{folder}{number:03d}.png": encoded(noise(number, **how)) for number in range(count)}  # type: ignore[arg-type]


def write(root: Path, held: dict[str, bytes]) -> Path:
    """Files below a folder, or entries of an archive if its name ends in .zip."""
    if root.suffix == ".zip":
        with zipfile.ZipFile(root, "w") as archive:
            for name, data in held.items():
                archive.writestr(name, data)
        return root
    for name, data in held.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root
