"""What is done to images before a critic sees them, real ones and fakes alike: it can be differentiated, so that the
generator learns through it. Zhao et al. 2020, https://arxiv.org/abs/2006.10738."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen.checks import at_least


class Augmenter(nn.Module):
    """Changes each image at random. The noise fades with the moves of the critic that `count_move` counts."""

    moves: Tensor  # (), of the critic

    def __init__(self, config: Augmentation) -> None:
        super().__init__()
        self.config = config
        if config.noise:
            self.register_buffer("moves", torch.zeros(()))

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1], and as large; noise may lie outside."""
        if self.config.flip:
            turned = torch.rand(len(image), 1, 1, 1, device=image.device) < 0.5
            image = torch.where(turned, image.flip(3), image)
        if self.config.translation:
            image = translate(image, round(self.config.translation * image.shape[3]))
        if self.config.noise:
            left = (1 - self.moves / self.config.noise_moves).clamp(min=0).to(image.dtype)
            image = image + self.config.noise * left * torch.randn_like(image)
        return image

    def count_move(self) -> None:
        """Counts one move of the critic."""
        if self.config.noise:
            self.moves += 1


def translate(image: Tensor, most: int) -> Tensor:
    """Images (B, C, H, W), each moved by at most `most` pixels along both axes; what comes in is 0."""
    count, _, height, width = image.shape
    down, right = torch.randint(0, 2 * most + 1, (2, count, 1), device=image.device)  # (B, 1) each
    rows = down + torch.arange(height, device=image.device)  # (B, H), in the padded image
    columns = right + torch.arange(width, device=image.device)  # (B, W)
    padded = F.pad(image, (most, most, most, most))
    moved = padded[torch.arange(count, device=image.device)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)  # (B, H, W, C) before


@dataclass(frozen=True)
class Augmentation:
    """What the critic sees of images. As it stands: the images."""

    flip: bool = False  # each image with a chance of one half as in a mirror
    translation: float = 0.0  # most of a side by which an image is moved (DiffAugment: 0.125)
    noise: float = 0.0  # standard deviation of the noise that is added at first (Arjovsky and Bottou 2017: 0.1)
    noise_moves: int = 10_000  # moves of the critic after which the noise is gone

    def __post_init__(self) -> None:
        at_least("translation", self.translation, 0, 0.5)
        at_least("noise", self.noise, 0)
        at_least("noise_moves", self.noise_moves, 1)

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return bool(self.flip or self.translation or self.noise)

    def build(self) -> Augmenter:
        """The module that does it."""
        return Augmenter(self)
