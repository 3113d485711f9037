"""The space of the variational autoencoders."""

from __future__ import annotations

from ray import tune

from gen.config import RunConfig
from tune_spaces.space import Space


def space(config: RunConfig) -> Space:
    """Ranked by the bound at beta 1, whatever beta trained it."""
    keys = {
        "model.beta": tune.loguniform(0.25, 8.0),
        "model.latent": tune.choice([2, 4, 8, 16, 32, 64]),
        "model.width": tune.choice([256, 512, 1024]),
        "model.optimizer.rate": tune.loguniform(2e-4, 5e-3),
    }
    return Space(config, keys, metric="bound/images", max_epochs=30, grace=2, scales={"autoencoder/": ["model.beta"]})
