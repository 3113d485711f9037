"""The convolutional networks of World Models, Ha and Schmidhuber 2018, https://arxiv.org/abs/1803.10122, A.1."""

from __future__ import annotations

from torch import nn

SIZE = 64  # pixels a side of the images that they take


def shrinking_encoder(channels: int, width: int, out: int) -> nn.Sequential:
    """(B, channels, 64, 64) -> (B, out) by convolutions of 4 x 4 and stride 2 without padding: sides 31, 14, 6, 2."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(4 * width, 8 * width, 4, stride=2),
        nn.ReLU(),
        nn.Flatten(),  # (B, 32 width)
        nn.Linear(32 * width, out),
    )


def growing_decoder(inputs: int, width: int, out: int) -> nn.Sequential:
    """(B, inputs) -> (B, out, 64, 64), unbounded, by transposed convolutions of stride 2: sides 1, 5, 13, 30, 64."""
    return nn.Sequential(
        nn.Linear(inputs, 32 * width),
        nn.Unflatten(1, (32 * width, 1, 1)),
        nn.ConvTranspose2d(32 * width, 4 * width, 5, stride=2),
        nn.ReLU(),
        nn.ConvTranspose2d(4 * width, 2 * width, 5, stride=2),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 6, stride=2),
        nn.ReLU(),
        nn.ConvTranspose2d(width, out, 6, stride=2),
    )
