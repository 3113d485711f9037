"""The space of the vector-quantised autoencoders."""

from __future__ import annotations

from ray import tune

from gen.config import RunConfig
from tune_spaces.space import Space


def space(config: RunConfig) -> Space:
    """Ranked by reconstruction alone: more codes are allowed to win."""
    keys = {
        "model.beta": tune.loguniform(0.05, 4.0),
        "model.codebook": tune.choice([{"update": "ema", "decay": tune.uniform(0.9, 0.999)}, {"update": "loss"}]),
        "model.codebook.codes": tune.choice([64, 128, 256, 512]),
        "model.codebook.dimensions": tune.choice([8, 16, 32, 64]),
        "model.hidden": tune.choice([32, 64, 128]),
        "model.optimizer.rate": tune.loguniform(1e-4, 3e-3),
    }
    scales = {
        "autoencoder/": ["model.beta", "model.codebook.update", "model.codebook.dimensions"],
        "perplexity/": ["model.codebook.codes"],
        "used/": ["model.codebook.codes"],
    }
    return Space(config, keys, metric="mse/reconstructions", max_epochs=20, grace=1, scales=scales)
