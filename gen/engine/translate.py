"""Images of any size through a model that translates."""

from __future__ import annotations

import torch
from torch import Tensor

from gen.capabilities import Translates


def translate_images(model: Translates, images: Tensor, column: str) -> Tensor:
    """Translations (B, C, H, W) into `column` of images (B, C, H, W) of any height and width. Images are mirrored at
    their edges until the networks can take them, and their translations cropped back."""
    height, width = images.shape[2:]
    (above, rows), (left, columns) = (mirror(side, model.least, model.multiple) for side in (height, width))
    padded = images[:, :, rows.to(images.device)][:, :, :, columns.to(images.device)]
    return model.translate(padded, column)[:, :, above : above + height, left : left + width]


def mirror(side: int, least: int, multiple: int) -> tuple[int, Tensor]:
    """How many lines of a padded image lie before the `side` lines of an image, and which of its lines each line of the
    padded one is, (P,): P is the smallest multiple of `multiple` that is at least `least` and `side`.

    The lines beyond an edge are those before it in reverse, without the edge itself, as PyTorch's padding "reflect" has
    it, but as often as it takes: the padding may be wider than the image. A single line is repeated."""
    wanted = -(-max(side, least) // multiple) * multiple
    before = (wanted - side) // 2
    places = torch.arange(-before, wanted - before)
    if side == 1:
        return before, torch.zeros_like(places)
    round_trip = 2 * (side - 1)  # from one edge to the other and back
    places = places % round_trip
    return before, torch.minimum(places, round_trip - places)
