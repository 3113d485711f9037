"""A pool of earlier fakes, for a critic that is not to forget them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gen.phase import MicroBatch, Shape


class Pool(nn.Module):
    """Fakes of earlier steps: Shrivastava et al. 2016, https://arxiv.org/abs/1612.07828, section 2.3.

    The pool first fills up, and what goes in is used too. From then on half of all fakes, at random, are exchanged: an
    earlier one is used, and the new one takes its place. By the law of workers all micro-batches of a step see the pool
    as the step found it, and `project` puts in what they leave in `sums`. So that no two fakes of a step take one
    place, the places are dealt out to them in an order that is drawn afresh for each step. A step that has more fakes
    than there are places uses the pool again from the first place on, and does not keep the fakes for which there is no
    place.
    """

    fakes: Tensor  # (P, C, H, W)
    order: Tensor  # (P,): the places, in the order in which the next step's fakes get them
    filled: Tensor  # (): places that have a fake
    fresh: Tensor  # (P, C, H, W): the step's new fakes at their places, else zero; zero between steps
    taken: Tensor  # (P,): one where there is a new fake; zero between steps

    def __init__(self, places: int, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("fakes", torch.zeros(places, shape.channels, shape.size, shape.size))
        self.register_buffer("order", torch.arange(places))
        self.register_buffer("filled", torch.tensor(0))
        self.register_buffer("fresh", torch.zeros_like(self.fakes), persistent=False)
        self.register_buffer("taken", torch.zeros(places), persistent=False)

    @property
    def sums(self) -> list[Tensor]:
        """For `Phase.sums`."""
        return [self.fresh, self.taken]

    def exchange(self, fakes: Tensor, micro_batch: MicroBatch | None) -> Tensor:
        """What the critic is to see in place of `fakes` (B, C, H, W): of those that train, some are earlier ones."""
        places = len(self.fakes)
        if micro_batch is None or not places:
            return fakes
        numbers = micro_batch.index * len(fakes) + torch.arange(len(fakes), device=fakes.device)  # within the step
        full, free = self.filled == places, self.filled + numbers
        earlier = full & (torch.rand(len(fakes), device=fakes.device) < 0.5)  # (B,)
        place = torch.where(full, self.order[numbers % places], free % places)
        kept = torch.where(full, earlier & (numbers < places), free < places)
        new = torch.where(as_images(kept), fakes, 0)
        self.fresh.index_add_(0, place, new.to(self.fresh.dtype))
        self.taken.index_add_(0, place, kept.to(self.taken.dtype))
        return torch.where(as_images(earlier), self.fakes[place], fakes)

    def project(self) -> None:
        """Puts the step's new fakes into their places."""
        self.fakes.copy_(torch.where(as_images(self.taken > 0), self.fresh, self.fakes))
        added = self.filled + self.taken.sum().to(self.filled.dtype)  # exchanged ones add none
        self.filled.copy_(added.clamp(max=len(self.fakes)))
        self.order.copy_(torch.randperm(len(self.order), device=self.order.device))
        self.fresh.zero_()
        self.taken.zero_()


def as_images(numbers: Tensor) -> Tensor:
    """(N,) -> (N, 1, 1, 1), beside images."""
    return numbers.view(-1, 1, 1, 1)
