"""Logs that stay on the device until the tick, and the first step at which one of them was not finite."""

from __future__ import annotations

import torch
from torch import Tensor

from gen.distributed.workers import Workers
from gen.phase import Logs

WAIT = 256  # micro-batches whose logs wait, to be added up together in a launch or two


class Diverged(RuntimeError):
    """A loss, a log or a gradient norm is not finite: which of them, and at which step."""

    def __init__(self, name: str, step: int) -> None:
        super().__init__(f"{name} is not finite at step {step}")
        self.name, self.step = name, step


class Watch:
    """Sums of one phase's logs since the last tick. Adding launches next to nothing and never synchronises."""

    def __init__(self, prefix: str, device: torch.device, workers: Workers) -> None:
        self.prefix, self.device, self.workers = prefix, device, workers
        self.names: list[str] = []
        self.count = 0
        self.steps: list[int] = []  # of the micro-batches that wait
        self.waiting: list[Tensor] = []  # their scalars, one after another

    def add(self, step: int, logs: Logs) -> None:
        """Counts the scalars `logs` of one micro-batch of step number `step`."""
        if not self.count:
            self.names = list(logs)
            self.sums = torch.zeros(len(logs), dtype=torch.float64, device=self.device)
            self.bad = torch.full_like(self.sums, -1.0)  # the first step that was not finite; -1: none yet
        self.waiting += [logs[name].detach() for name in self.names]
        self.steps.append(step)
        self.count += 1
        if len(self.steps) == WAIT:
            self._fold()

    def take(self) -> dict[str, float]:
        """Means over micro-batches and workers by "phase/name"; sums start anew. Raises Diverged on all workers."""
        if not self.count:
            return {}
        self._fold()
        bad = self.bad.new_zeros(self.workers.size, len(self.names))
        bad[self.workers.rank] = self.bad
        sums = self.sums / (self.count * self.workers.size)
        self.workers.total([bad, sums])
        self.count = 0
        names = [f"{self.prefix}/{name}" for name in self.names]
        found = [(int(step), name) for row in bad.tolist() for step, name in zip(row, names, strict=True) if step >= 0]
        if found:
            step, name = min(found, key=lambda pair: pair[0])  # of several at one step, the first in the logs
            raise Diverged(name, step)
        return dict(zip(names, sums.tolist(), strict=True))

    def _fold(self) -> None:
        """Adds up what waits, one micro-batch after another, as if each had been added when it came."""
        if not self.steps:
            return
        values = torch.stack(self.waiting).view(-1, len(self.names)).double()  # (waiting, names)
        self.sums = torch.cat([self.sums[None], values]).cumsum(0)[-1]
        steps = torch.tensor(self.steps, dtype=torch.float64).to(self.device, non_blocking=True)
        first = torch.where(values.isfinite(), torch.inf, steps[:, None]).amin(0)  # (names,)
        self.bad = torch.where((self.bad >= 0) | first.isinf(), self.bad, first)
        self.steps, self.waiting = [], []
