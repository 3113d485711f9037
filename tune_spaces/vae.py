"""The space of the variational autoencoders."""

from __future__ import annotations

from typing import Any

from ray import tune

from gen.config import RunConfig, flat
from tune_spaces.space import Space


def space(config: RunConfig) -> Space:
    """Ranked by the bound at beta 1, whatever beta a run trained with. The likelihood is not searched, for bounds under
    two likelihoods do not compare; a search over likelihoods must rank by reconstructions."""
    settings = flat(config)
    keys: dict[str, Any] = {
        "model.beta": tune.loguniform(0.125, 8.0),
        "model.latent": tune.choice(sorted({2, 4, 8, 16, 32, 64, settings["model.latent"]})),
        "model.optimizer.rate": tune.loguniform(2e-4, 5e-3),
        "train.batch": tune.choice([32, 64, 128, 256]),
    }
    if "model.networks.depth" in settings:  # fully connected
        keys["model.networks.width"] = tune.choice([256, 400, 512, 1024])
        keys["model.networks.depth"] = tune.choice([1, 2, 3, 4])
    else:
        keys["model.networks.width"] = tune.choice([16, 32, 64])
    return Space(config, keys, metric="bound/images", max_epochs=30, grace=2)
