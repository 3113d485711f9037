"""genfleet's library: models, the engine that trains them, data, metrics and results. Usable without Ray."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from gen.engine.load import Trained
    from gen.results.storage import Storage

__all__ = ["load"]


def load(storage: str | Storage, experiment: str, run: str = "best", device: str | torch.device = "cpu") -> Trained:
    """A trained model in evaluation mode, with its config and its data's shape: `gen.load("results", "demo")`.

    `run`: the name of a run, or a beginning of it that no other run's has, or "best": the run with the best value of
    the figure that steered it. ValueError if there is no such run, or if no run has stored weights.
    """
    from gen.damage import take_remarks  # imported this late, so that `import gen` takes no time
    from gen.engine.load import load_run

    found = load_run(storage, experiment, run, device)
    for line in take_remarks():
        warnings.warn(line, stacklevel=2)
    return found
