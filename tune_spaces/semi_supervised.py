"""The space of the classifiers that learn from few labels, alone or in a game."""

from __future__ import annotations

from typing import Any

from ray import tune

from gen.config import RunConfig, flat
from tune_spaces.space import Space

FOOLING = [  # what fakes lower
    {"matching": 1.0, "adversarial": 0.0},
    {"matching": 0.0, "adversarial": 1.0},
    {"matching": tune.loguniform(0.1, 10.0), "adversarial": 1.0},
]
GENERATORS = [
    {"kind": "mlp", "depth": tune.choice([1, 2, 3]), "width": tune.choice([250, 500, 1000])},
    {"kind": "convolutional", "depth": tune.choice([1, 2]), "width": tune.choice([32, 64, 128])},
]


def space(config: RunConfig) -> Space:
    """Ranked by the accuracy on held-out images, which compares whatever was learned from. What a classifier alone does
    not have is left out of its space."""
    settings = flat(config)
    keys: dict[str, Any] = {
        "model.classifier_optimizer.rate": tune.loguniform(3e-4, 6e-3),
        "model.classifier.noise": tune.choice([0.0, 0.1, 0.2, 0.3, 0.5]),
        "model.supervised": tune.loguniform(0.1, 10.0),  # weight of the labels
        "model.unsupervised": tune.loguniform(0.1, 2.0),
        "model.generator_optimizer.rate": tune.loguniform(3e-4, 6e-3),
        "model.autoencoder_optimizer.rate": tune.loguniform(2e-4, 5e-3),
        "model.reconstruction": tune.loguniform(0.01, 10.0),
        "model.beta": tune.loguniform(0.01, 10.0),
    }
    keys = {key: domain for key, domain in keys.items() if key in settings}
    if "model.classifier.hidden_noise" in settings:
        keys["model.classifier.hidden_noise"] = tune.choice([0.0, 0.25, 0.5, 0.75])
    else:
        keys["model.classifier.hidden_dropout"] = tune.choice([0.0, 0.25, 0.5])
    if "model.matching" in settings:
        keys["model"] = tune.choice(FOOLING)
    if "model.generator" in settings:
        keys["model.generator"] = tune.choice(GENERATORS)
    return Space(config, keys, metric="accuracy/images", max_epochs=90, grace=9)
