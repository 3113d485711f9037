"""The space of the vector-quantised autoencoders."""

from __future__ import annotations

from typing import Any

from ray import tune

from gen.config import RunConfig, flat
from tune_spaces.space import Space

LIKELIHOODS = [
    {"kind": "mse"},
    {"kind": "bernoulli"},
    {"kind": "gaussian", "variance": tune.choice(["shared", "pixel"])},
]


def space(config: RunConfig) -> Space:
    """Ranked by reconstructions alone: so more codes may win, and runs with different likelihoods compare."""
    settings = flat(config)
    keys: dict[str, Any] = {
        "model.beta": tune.loguniform(0.05, 4.0),
        "model.codebook": tune.choice([{"update": "ema", "decay": tune.uniform(0.9, 0.999)}, {"update": "loss"}]),
        "model.codebook.codes": tune.choice([64, 128, 256, 512]),
        "model.likelihood": tune.choice(LIKELIHOODS),
        "model.optimizer.rate": tune.loguniform(1e-4, 3e-3),
        "train.batch": tune.choice([32, 64, 128, 256]),
    }
    if "model.networks.hidden" in settings:
        keys["model.codebook.dimensions"] = tune.choice([8, 16, 32, 64])
        keys["model.networks.hidden"] = tune.choice([32, 64, 128])
        keys["model.networks.blocks"] = tune.choice([1, 2, 3])
    else:  # the image's size sets the dimensions
        keys["model.networks.width"] = tune.choice([16, 32, 64])
    return Space(config, keys, metric="mse/reconstructions", max_epochs=20, grace=1)
