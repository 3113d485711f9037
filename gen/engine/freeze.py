"""Who may move: while a phase runs, only its player requires gradients and trains; all else is frozen, buffers too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from gen.phase import Model, Phase

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
FROZEN, JUDGED = -1, -2  # states in which no phase's player moves; in the second one the model is evaluated


def batch_norms(module: nn.Module) -> list[Any]:
    """The BatchNorm layers inside `module` that keep running statistics."""
    return [part for part in module.modules() if isinstance(part, BATCH_NORMS) and part.running_mean is not None]


def switch(modules: Sequence[nn.Module], flag: str, value: bool) -> None:
    """Sets a flag of modules directly: their `__setattr__` takes longer than a layer of a small network computes."""
    for module in modules:
        vars(module)[flag] = value


class Player:
    """A player's parameters and modules, looked up once."""

    def __init__(self, player: nn.Module) -> None:
        self.parameters = list[Tensor](player.parameters())
        self.first = next((one for one in self.parameters if one.ndim > 1), None)  # weights of the first layer
        self.norms = batch_norms(player)
        norm_ids = {id(norm) for norm in self.norms}
        self.others = [module for module in player.modules() if id(module) not in norm_ids]

    def move(self, moves: bool) -> None:
        """Lets the player move, or freezes it. A frozen player's BatchNorm normalises by the batch and leaves its
        running statistics alone, as PyTorch does for `training` without `track_running_stats`."""
        for parameter in self.parameters:
            parameter.requires_grad_(moves)
        switch(self.others, "training", moves)
        switch(self.norms, "track_running_stats", moves)


class Freezer:
    """Freezes a whole model on construction and thaws one player at a time.

    A module that is no phase's player (a frozen first stage) is always in evaluation mode: its BatchNorm uses its
    running statistics. A change of state touches only the flags that differ, so the flags of a model with one phase
    stay untouched from step to step.
    """

    def __init__(self, model: Model, phases: Sequence[Phase]) -> None:
        self.model = model
        self.players = [Player(phase.player) for phase in phases]
        self.norms = list({id(norm): norm for player in self.players for norm in player.norms}.values())
        self.prepares = type(model).prepare is not Model.prepare  # whether `prepare` runs networks
        self.state = JUDGED
        self.freeze()

    def freeze(self) -> None:
        """Freezes everything: the state in which a model prepares a batch."""
        if self.state >= 0:
            self.players[self.state].move(False)
        elif self.state == JUDGED:
            self.model.requires_grad_(False)
            self.model.eval()
            switch(self.norms, "training", True)
            switch(self.norms, "track_running_stats", False)
        self.state = FROZEN

    def thaw(self, number: int) -> list[Tensor]:
        """Lets the player of phase `number` require gradients and train, and no other; gives its parameters."""
        if self.state != number:
            self.freeze()
            self.players[number].move(True)
            self.state = number
        return self.players[number].parameters

    def judge(self) -> None:
        """Evaluation mode for everything, BatchNorm by running statistics: how a model is sampled and measured."""
        self.freeze()
        self.model.eval()
        switch(self.norms, "track_running_stats", True)
        self.state = JUDGED

    @contextmanager
    def thawing(self, number: int) -> Iterator[list[Tensor]]:
        """`thaw` inside, then `freeze`."""
        try:
            yield self.thaw(number)
        finally:
            self.freeze()

    @contextmanager
    def judging(self) -> Iterator[None]:
        """`judge` inside, then `freeze`."""
        self.judge()
        try:
            yield
        finally:
            self.freeze()
