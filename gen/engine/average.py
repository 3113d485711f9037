"""Averages that training keeps: EMA weights, and BatchNorm statistics that keep the law of workers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gen.distributed.workers import Workers
from gen.phase import Model


class EvenStatistics:
    """Moves BatchNorm's running statistics once a repeat, to the mean over all workers' micro-batches.

    BatchNorm alone would move them once for each micro-batch of a worker, and differently on each worker. Enter this
    around each micro-batch, and call `settle` after the last.
    """

    def __init__(self, norms: Sequence[nn.Module]) -> None:
        self.buffers = [buffer for norm in norms for buffer in norm.buffers()]
        self.start = [buffer.clone() for buffer in self.buffers]
        self.sums = [torch.zeros_like(buffer) for buffer in self.buffers]

    def __enter__(self) -> None:
        for buffer, start in zip(self.buffers, self.start, strict=True):
            buffer.copy_(start)

    def __exit__(self, *_: object) -> None:
        for total, buffer in zip(self.sums, self.buffers, strict=True):
            total += buffer

    def settle(self, total: int, workers: Workers) -> None:
        """Sets the buffers to the mean over `total` micro-batches; a count of batches stays a whole number."""
        workers.total(self.sums)
        for buffer, summed in zip(self.buffers, self.sums, strict=True):
            buffer.copy_(summed / total if summed.is_floating_point() else summed // total)


class Average:
    """Exponential moving average of a model's parameters. Buffers are not averaged; `show` copies them."""

    def __init__(self, model: Model, decay: float) -> None:
        self.decay = decay
        self.weights: list[Tensor] = [parameter.detach().clone() for parameter in model.parameters()]

    def follow(self, model: Model, step: int) -> None:
        """Moves towards the model after step number `step`: by `decay`, and faster in the first steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(self.weights, [parameter.detach() for parameter in model.parameters()], step)

    def show(self, model: Model, statistics: Callable[[Model], None]) -> Model:
        """A copy of `model` with the averaged weights; `statistics` recomputes its BatchNorm statistics."""
        twin = copy.deepcopy(model)
        with torch.no_grad():
            for parameter, weight in zip(twin.parameters(), self.weights, strict=True):
                parameter.copy_(weight)
        statistics(twin)
        return twin

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights, in the order of the model's parameters."""
        return {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what `state_dict` gave."""
        for weight, saved in zip(self.weights, state["weights"], strict=True):
            weight.copy_(saved)
