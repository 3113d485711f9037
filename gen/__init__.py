"""genfleet's library: models, the engine that trains them, data, metrics and results. Usable without Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from gen.engine.load import Trained
    from gen.results.storage import Storage

__all__ = ["load"]


def load(storage: str | Storage, experiment: str, run: str = "best", device: str | torch.device = "cpu") -> Trained:
    """A trained model in evaluation mode, with its config and its data's shape: `gen.load("results", "demo")`.

    `run`: its name, or "best": that which steered best. ValueError if there is none, or none has stored weights.
    """
    from gen.engine.load import load_run  # so late that `import gen` takes no time

    return load_run(storage, experiment, run, device)
