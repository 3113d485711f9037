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
"""Named scalars on the device, which the engine detaches and averages. A loss gives the same names at every call."""


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
    """The micro-batch that a phase's loss is computed on. While it trains, a model finds it in `Model.micro_batch`."""

    index: int  # of this micro-batch within the draw, over all workers
    count: int  # micro-batches of a draw

    def owns(self, numbers: Tensor) -> Tensor:
        """Deals elements out to the micro-batches of a draw: True, in the shape of `numbers` (any whole number for each
        element), for those that fall to this micro-batch. Each falls to exactly one. So if every micro-batch offers
        values for its own elements and zeros for the others, the sum over micro-batches and workers holds one
        micro-batch's value for each element."""
        return numbers % self.count == self.index


def nothing() -> None:
    """Does nothing: the projection of a phase that needs none."""


@dataclass(frozen=True)
class Phase:
    """One player's move: lower `loss` by changing only the parameters of `player`."""

    name: str  # prefix in the results: "critic/penalty"
    player: nn.Module  # a network, or a ModuleList of those that move together
    loss: Callable[[Batch], tuple[Tensor, Logs]]
    optimizer: Optimizer
    repeats: int = 1  # moves a step (n_critic): the first on the draw that all phases share, each other on a fresh one
    sums: Sequence[Tensor] = ()  # buffers that `loss` adds to; the engine totals them over workers, then ...
    project: Callable[[], None] = nothing  # ... calls this after the optimiser's step: EMA codebook, weight clipping


class Model(nn.Module, ABC):
    """Networks and the phases that train them. It never sees the engine, files or devices.

    What it can do beside training it declares by the capabilities among its bases (`gen.capabilities`).
    """

    needs: frozenset[str] = frozenset({"image"})  # columns without which it cannot train
    unmoved: Mapping[str, str] = {}  # parameter name -> the reason why its gradient is zero
    without: frozenset[type] = frozenset()  # capabilities of its class that its settings take away
    micro_batch: MicroBatch | None = None  # set by the engine while a phase's loss trains

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """The players' moves, in order. The engine calls it once and keeps what it gives."""

    def prepare(self, batch: Batch) -> Batch:
        """Adds columns that are made once a draw, without gradient (latents, fakes, codes); by default none."""
        return batch

    def count_learned(self) -> int:
        """How many numbers training learns: those of the parameters, and of buffers that `Phase.project` learns."""
        return sum(parameter.numel() for parameter in self.parameters())
