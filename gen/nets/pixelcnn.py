"""The gated PixelCNN: figure 2 of https://arxiv.org/abs/1606.05328, van den Oord et al. 2016."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GatedLayer(nn.Module):
    """One layer of both stacks. The vertical stack sees the rows above a place, the horizontal one the places to its
    left too.

    The layer is causal by the zeros that its callers put above and to the left, not by masks: so the same weights
    compute a whole grid, one row, or one place.
    """

    def __init__(self, width: int, reach: int, classes: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.vertical = nn.Conv2d(width, 2 * width, (reach + 1, 2 * reach + 1))
        self.horizontal = nn.Conv2d(width, 2 * width, (1, reach + 1))
        self.across = nn.Conv2d(2 * width, 2 * width, 1)  # from the vertical stack to the horizontal one
        self.out = nn.Conv2d(width, width, 1)
        self.condition = nn.Embedding(classes, 4 * width) if classes else None  # V h of eq. 4, for both stacks

    def conditions(self, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the class adds to each stack, (B, 2 * width, 1, 1) each; zero where there are no classes."""
        if self.condition is None or label is None:
            zero = self.out.weight.new_zeros(1, 1, 1, 1)
            return zero, zero
        down, right = self.condition(label)[:, :, None, None].chunk(2, dim=1)
        return down, right

    def down(self, padded: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """The vertical stack's output (B, width, R, W) for its padded input (B, width, R + reach, W + 2 * reach), and
        what it adds to the horizontal stack, (B, 2 * width, R, W)."""
        before = self.vertical(padded) + condition
        return gate(before), self.across(before)

    def right(self, padded: Tensor, across: Tensor, condition: Tensor) -> Tensor:
        """The horizontal stack's output (B, width, R, P) for its padded input (B, width, R, P + reach), and what the
        vertical stack adds to it."""
        features: Tensor = self.out(gate(self.horizontal(padded) + across + condition))
        return features + padded[..., -features.shape[-1] :] if self.residual else features


class PixelCNN(nn.Module):
    """Logits of each code in a grid, given the codes before it (row by row, from the left) and the class."""

    def __init__(self, codes: int, width: int, layers: int, reach: int, head: int, classes: int = 0) -> None:
        super().__init__()
        self.width, self.reach = width, reach
        self.embed = nn.Embedding(codes, width)
        # the first layer, whose input is the codes themselves, has no residual connection
        stack = [GatedLayer(width, reach, classes, residual=number > 0) for number in range(layers)]
        self.layers: Sequence[GatedLayer] = nn.ModuleList(stack)  # type: ignore[assignment]
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, head, 1), nn.ReLU(), nn.Conv2d(head, codes, 1))

    def forward(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits (B, K, H, W) of `codes` (B, H, W) given the codes before each and `label` (B,)."""
        reach, embedded = self.reach, self.embed(codes).permute(0, 3, 1, 2)  # (B, width, H, W)
        down = F.pad(embedded, (0, 0, 1, -1))  # row i holds row i - 1
        right = F.pad(embedded, (1, -1))  # column j holds column j - 1
        for layer in self.layers:
            conditions = layer.conditions(label)
            down, across = layer.down(F.pad(down, (reach, reach, reach, 0)), conditions[0])
            right = layer.right(F.pad(right, (reach, 0)), across, conditions[1])
        logits: Tensor = self.head(right)
        return logits

    @torch.no_grad()
    def sample(self, count: int, height: int, width: int, label: Tensor | None = None) -> Tensor:
        """Codes (count, height, width), drawn one place after another. Each layer's output is computed once a place, so
        a whole grid costs about one `forward`, and not one for each place."""
        reach, like = self.reach, self.embed.weight
        conditions = [layer.conditions(label) for layer in self.layers]
        # each layer's input, with the zeros around it: the vertical stack's whole grid, and a row of the horizontal one
        downs = [like.new_zeros(count, self.width, height + reach, width + 2 * reach) for _ in self.layers]
        codes = torch.zeros(count, height, width, dtype=torch.int64, device=like.device)
        for i in range(height):
            if i:
                downs[0][:, :, i + reach, reach : width + reach] = self.embed(codes[:, i - 1]).transpose(1, 2)
            row_across = []
            for number, layer in enumerate(self.layers):
                row, across = layer.down(downs[number][:, :, i : i + reach + 1], conditions[number][0])
                row_across.append(across)
                if number + 1 < len(self.layers):
                    downs[number + 1][:, :, i + reach, reach : width + reach] = row[:, :, 0]
            rights = [like.new_zeros(count, self.width, 1, width + reach) for _ in self.layers]
            for j in range(width):
                if j:
                    rights[0][:, :, 0, j + reach] = self.embed(codes[:, i, j - 1])
                for number, layer in enumerate(self.layers):
                    strip, here = rights[number][..., j : j + reach + 1], row_across[number][..., j : j + 1]
                    place = layer.right(strip, here, conditions[number][1])  # (B, width, 1, 1)
                    if number + 1 < len(self.layers):
                        rights[number + 1][:, :, :, j + reach] = place[..., 0]
                logits = self.head(place)[:, :, 0, 0]
                codes[:, i, j] = torch.multinomial(logits.softmax(1), 1)[:, 0]
        return codes


def gate(features: Tensor) -> Tensor:
    """tanh of the first half of the channels times the logistic function of the other: eq. 2."""
    left, right = features.chunk(2, dim=1)
    return torch.tanh(left) * torch.sigmoid(right)
