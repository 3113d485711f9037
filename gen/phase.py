"""The contract between models and the engine: what varies between generative models is *which parameters move, to
lower which number, how often*. That is a value, a `Phase`; the engine alone differentiates, synchronises and steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from gen.optimizers import Optimizer

Batch = Mapping[str, Tensor]
"""Named columns: "image" (B, C, H, W) in [-1, 1], "label" (B,), "unlabelled", "a", "b", "codes"."""

Logs = dict[str, Tensor]
"""Scalars on the device; the engine detaches and averages them. The names are the same at every call."""


@dataclass(frozen=True)
class Shape:
    """What a network must know of its data set."""

    channels: int
    size: int  # height and width in pixels
    classes: int = 0  # 0: no labels

    @property
    def pixels(self) -> int:
        """Numbers in one image: channels x height x width."""
        return self.channels * self.size * self.size


@dataclass(frozen=True)
class MicroBatch:
    """Which part of a training step a call of a phase's loss is. Outside of training there is none."""

    index: int  # of this micro-batch within the draw, over all workers
    count: int  # micro-batches of a draw

    def owns(self, numbers: Tensor) -> Tensor:
        """Truth values, like `numbers` (whole ones): whether this micro-batch, and no other of the draw, offers what
        goes to each place, so that the sum over micro-batches and workers is one true offer a place."""
        return numbers % self.count == self.index


def nothing() -> None:
    """The projection of a phase that has none."""


@dataclass(frozen=True)
class Phase:
    """One player's move: lower `loss` by changing only the parameters of `player`."""

    name: str  # prefix in the results: "critic/penalty"
    player: nn.Module  # a network, or a ModuleList of those that move together
    loss: Callable[[Batch], tuple[Tensor, Logs]]
    optimizer: Optimizer
    repeats: int = 1  # moves a step, each on a fresh draw: n_critic
    sums: Sequence[Tensor] = ()  # buffers that `loss` adds to; the engine totals them over workers, then ...
    project: Callable[[], None] = nothing  # ... calls this after the optimiser's step: EMA codebook, weight clipping


class Model(nn.Module, ABC):
    """Networks and the phases that train them. It never sees the engine, files or devices.

    What else it can do are the capabilities among its bases (`gen.capabilities`).
    """

    needs: frozenset[str] = frozenset({"image"})  # columns without which it cannot train
    unmoved: Mapping[str, str] = {}  # parameter name -> the reason why its gradient is zero
    without: frozenset[type] = frozenset()  # capabilities of its class that its settings take away
    micro_batch: MicroBatch | None = None  # set by the engine while a phase's loss trains

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """The players' moves, in order. Called once; the values are kept."""

    def prepare(self, batch: Batch) -> Batch:
        """Columns made once a draw, without gradient (latents, fakes, codes). As it stands: none."""
        return batch

    def count_learned(self) -> int:
        """Numbers that training sets: the parameters, and buffers that `project` learns in their place."""
        return sum(parameter.numel() for parameter in self.parameters())
