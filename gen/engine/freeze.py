"""Who may move: while a phase runs, only its player requires gradients and trains; all else is frozen, buffers too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gen.phase import Phase


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm layers inside `module` that keep running statistics."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]


class Freezer:
    """Freezes a whole model on construction and thaws one player at a time.

    A frozen player's BatchNorm normalises by the batch and leaves its running statistics alone: PyTorch does just that
    for `training` without `track_running_stats`. What is nobody's player (a frozen first stage) uses its running ones.
    """

    def __init__(self, model: nn.Module, phases: Sequence[Phase]) -> None:
        self.model = model
        self.norms = list({id(norm): norm for phase in phases for norm in batch_norms(phase.player)}.values())
        self.parts = [(list(phase.player.parameters()), list(phase.player.modules())) for phase in phases]
        self.freeze()

    def freeze(self) -> None:
        """Everything frozen, ready for a player to be thawed."""
        self.model.requires_grad_(False)
        self.model.eval()
        for norm in self.norms:
            norm.training, norm.track_running_stats = True, False

    @contextmanager
    def thawed(self, number: int) -> Iterator[list[Tensor]]:
        """The player of phase `number` requires gradients and trains; gives its parameters."""
        parameters, modules = self.parts[number]
        for parameter in parameters:
            parameter.requires_grad_(True)
        for module in modules:
            module.training = True
            if isinstance(module, _BatchNorm) and module.running_mean is not None:
                module.track_running_stats = True
        try:
            yield list[Tensor](parameters)
        finally:
            for parameter in parameters:
                parameter.requires_grad_(False)
            for module in modules:
                if isinstance(module, _BatchNorm) and module.running_mean is not None:
                    module.track_running_stats = False
                else:
                    module.training = False

    def judge(self) -> None:
        """Everything in evaluation mode, BatchNorm by its running statistics: how a model is sampled and measured."""
        self.model.eval()
        for norm in self.norms:
            norm.track_running_stats = True

    @contextmanager
    def judged(self) -> Iterator[None]:
        """`judge` for a while, then frozen again."""
        self.judge()
        try:
            yield
        finally:
            self.freeze()
