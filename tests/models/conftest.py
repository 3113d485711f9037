from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from gen.data.columns import is_image
from gen.phase import Batch, Logs, MicroBatch, Model, Phase


class Play:
    """One move of one player by hand, as the engine makes it."""

    def batch(self, model: Model, count: int = 8, size: int = 8, channels: int = 1, seed: int = 0) -> Batch:
        """Noise as images in "image" and whatever other columns of images the model needs, a row of each label in turn,
        and what the model prepares."""
        torch.manual_seed(seed)
        dtype, more = next(model.parameters()).dtype, sorted(filter(is_image, model.needs - {"image"}))
        noise = {name: torch.rand(count, channels, size, size, dtype=dtype) * 2 - 1 for name in ("image", *more)}
        with torch.no_grad():
            return model.eval().prepare({**noise, "label": torch.arange(count) % 10})

    def loss(self, model: Model, phase: Phase, batch: Batch) -> tuple[Tensor, Logs]:
        """The loss of a training step's only micro-batch."""
        model.micro_batch = MicroBatch(0, 1)
        try:
            return phase.loss(batch)
        finally:
            model.micro_batch = None

    def gradients(self, model: Model, phase: Phase, batch: Batch) -> Mapping[str, Tensor | None]:
        """Gradients of all parameters after one backward pass in which only the player may have any."""
        model.zero_grad()
        model.requires_grad_(False).eval()
        phase.player.requires_grad_(True).train()
        loss, _ = self.loss(model, phase, batch)
        loss.backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    def step(self, model: Model, phase: Phase, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        self.gradients(model, phase, batch)
        optimizer.step()
        with torch.no_grad():
            phase.project()

    def names(self, model: Model, player: nn.Module) -> set[str]:
        own = {id(parameter) for parameter in player.parameters()}
        return {name for name, parameter in model.named_parameters() if id(parameter) in own}


@pytest.fixture(name="play")
def give_play() -> Play:
    return Play()
