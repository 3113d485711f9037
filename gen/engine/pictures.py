"""Grids of pictures, one kind a capability."""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from gen.data.dataset import Dataset
from gen.data.stream import scaled, to_uint8
from gen.engine.machine import seed
from gen.phase import Batch, Imitates, Model, Reconstructs

COUNT = 64  # pictures of a kind
NOISE = 0x70696374  # the pictures' own seed: the same latents at every tick


def grids(model: Model, dataset: Dataset, device: torch.device, split: str = "test") -> dict[str, bytes]:
    """Kind -> PNG: "fakes" (8 x 8 of them, beside as many real ones), "reconstructions" (rows of originals over rows of
    their reconstructions). `model` is in evaluation mode."""
    batch: dict[str, Tensor] = {}
    dtype = next(model.parameters()).dtype
    for table in dataset.splits[split]:
        for name, column in table.items():
            picked = column[torch.arange(COUNT) % len(column)]
            batch[name] = scaled(picked, device, dtype) if picked.dtype == torch.uint8 else picked.to(device)
    drawn = {}
    for capability, kind, draw in KINDS:
        if isinstance(model, capability):
            seed(device, NOISE)
            with torch.no_grad():
                drawn[kind] = png(draw(model, batch))
    return drawn


def fakes_beside_real(model: Imitates, batch: Batch) -> Tensor:
    """One picture (C, H, W) in [-1, 1]: fakes on the left, real images on the right."""
    fakes, real = model.imitate(batch)["image"], batch["image"]
    gap = torch.ones(real.shape[1], 1, 4, device=real.device, dtype=real.dtype)
    left, right = tiled(fakes, 8), tiled(real, 8)
    return torch.cat([left, gap.expand(-1, left.shape[1], -1), right], dim=2)


def originals_over_reconstructions(model: Reconstructs, batch: Batch) -> Tensor:
    """One picture (C, H, W) in [-1, 1]: each row of originals stands over the row of their reconstructions."""
    made, real = model.reconstruct(batch)["image"], batch["image"]
    rows = torch.stack([part.reshape(-1, 16, *real.shape[1:]) for part in (real, made)], dim=1)
    return tiled(rows.flatten(0, 2), 16)


def tiled(images: Tensor, columns: int) -> Tensor:
    """One picture (C, H', W') of images (N, C, H, W), white between them."""
    from torchvision.utils import make_grid  # here, for it takes seconds to import and most processes draw nothing

    grid: Tensor = make_grid(images, columns, padding=1, pad_value=1.0)
    return grid[: images.shape[1]]  # make_grid turns grey into colour


KINDS: tuple[tuple[type, str, Callable[..., Tensor]], ...] = (
    (Imitates, "fakes", fakes_beside_real),
    (Reconstructs, "reconstructions", originals_over_reconstructions),
)


def png(picture: Tensor, scale: int = 0) -> bytes:
    """A PNG file of a picture (C, H, W) in [-1, 1]; enlarged by whole pixels, by itself to at least 400 a side."""
    array = to_uint8(picture).cpu().permute(1, 2, 0).numpy()
    image = Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
    scale = scale or max(1, -(-400 // min(image.size)))
    buffer = io.BytesIO()
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()
