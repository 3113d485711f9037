"""The spaces of the priors over the codes of a first stage. The first stage is not searched: `--stage-one` names it."""

from __future__ import annotations

from ray import tune

from gen.config import RunConfig
from tune_spaces.space import Space

METRIC = "frechet/fakes"  # one prior has a likelihood of codes, one of latents, one none: these do not compare
BATCHES = tune.choice([32, 64, 100, 128, 256])


def pixelcnn(config: RunConfig) -> Space:
    """Ranked by the distance of the fakes."""
    keys = {
        "model.width": tune.choice([32, 64, 96, 128]),
        "model.layers": tune.choice([4, 6, 8, 12]),
        "model.reach": tune.choice([1, 2, 3]),
        "model.head": tune.choice([128, 256, 512]),
        "model.optimizer.rate": tune.loguniform(2e-4, 5e-3),
        "train.batch": BATCHES,
    }
    return Space(config, keys, metric=METRIC, max_epochs=30, grace=3)


def vae(config: RunConfig) -> Space:
    """Ranked by the distance of the fakes."""
    keys = {
        "model.latent": tune.choice([8, 16, 32, 64]),
        "model.width": tune.choice([256, 512, 1024]),
        "model.depth": tune.choice([1, 2, 3]),
        "model.beta": tune.loguniform(0.5, 50.0),  # latents have thousands of dimensions, z a few
        "model.optimizer.rate": tune.loguniform(2e-4, 5e-3),
        "train.batch": BATCHES,
    }
    return Space(config, keys, metric=METRIC, max_epochs=50, grace=5)


def mixture(config: RunConfig) -> Space:
    """Ranked by the distance of the fakes. Each run is one fit, which nothing stops early."""
    keys = {
        "model.components": tune.choice([1, 4, 8, 16, 32, 64]),
        "model.pca": tune.choice([16, 32, 64, 128, 256]),
        "model.points": tune.choice([2_500, 5_000, 10_000]),
        "model.floor": tune.loguniform(1e-6, 1e-1),
    }
    return Space(config, keys, metric=METRIC, max_epochs=1, grace=1)
