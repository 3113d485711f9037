"""Convolutional encoder and decoder with residual blocks: section 4.1 of https://arxiv.org/abs/1711.00937."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Module):
    """x + conv1x1(ReLU(conv3x3(ReLU(x)))), (B, width, H, W) -> the same."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, inner, 3, padding=1), nn.ReLU(), nn.Conv2d(inner, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.branch(x)
        return x + branch


def residual_stack(width: int, inner: int, blocks: int) -> nn.Sequential:
    """`blocks` residual blocks and a ReLU after the last."""
    return nn.Sequential(*(Residual(width, inner) for _ in range(blocks)), nn.ReLU())


def quartering_encoder(channels: int, hidden: int, inner: int, blocks: int, out: int) -> nn.Sequential:
    """(B, channels, H, W) -> (B, out, H/4, W/4); H and W must be multiples of 4."""
    return nn.Sequential(
        nn.Conv2d(channels, hidden // 2, 4, stride=2, padding=1),  # (B, hidden/2, H/2, W/2)
        nn.ReLU(),
        nn.Conv2d(hidden // 2, hidden, 4, stride=2, padding=1),  # (B, hidden, H/4, W/4)
        nn.ReLU(),
        nn.Conv2d(hidden, hidden, 3, padding=1),
        residual_stack(hidden, inner, blocks),
        nn.Conv2d(hidden, out, 1),
    )


def quadrupling_decoder(channels: int, hidden: int, inner: int, blocks: int, out: int) -> nn.Sequential:
    """(B, channels, H, W) -> (B, out, 4H, 4W), unbounded: the encoder's mirror."""
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 3, padding=1),
        residual_stack(hidden, inner, blocks),
        nn.ConvTranspose2d(hidden, hidden // 2, 4, stride=2, padding=1),  # (B, hidden/2, 2H, 2W)
        nn.ReLU(),
        nn.ConvTranspose2d(hidden // 2, out, 4, stride=2, padding=1),  # (B, out, 4H, 4W)
    )


class Axis(nn.Module):
    """Moves an axis of its input: (B, D, H, W) -> (B, H, W, D) or back."""

    def __init__(self, source: int, destination: int) -> None:
        super().__init__()
        self.source, self.destination = source, destination

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(self.source, self.destination)
