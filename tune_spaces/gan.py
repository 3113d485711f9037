"""The space of the adversarial entries: what they share, and what each one's objective adds."""

from __future__ import annotations

from typing import Any

from ray import tune

from gen.config import RunConfig, flat
from tune_spaces.space import Space

CODINGS = [
    {"a": 0.0, "b": 1.0, "c": 1.0},  # LSGAN, eq. 9
    {"a": -1.0, "b": 1.0, "c": 0.0},  # LSGAN, eq. 8: b - c = 1 and b - a = 2, Pearson's chi-squared divergence
    {"a": tune.uniform(-1.0, 0.5), "b": tune.uniform(0.75, 1.5), "c": tune.uniform(-0.5, 1.5)},  # free
]


def space(config: RunConfig) -> Space:
    """Ranked by the fakes' Frechet distance. A penalty and several critic steps are searched if the entry has them."""
    settings = flat(config)
    penalised = "model.penalty.weight" in settings
    low, high = (2e-5, 5e-4) if penalised else (1e-4, 2e-3)  # around the entry's own rate
    keys: dict[str, Any] = {
        "model.generator_optimizer.rate": tune.loguniform(low, high),
        "model.critic_optimizer.rate": tune.loguniform(low, high),
        "model.latent": tune.choice([16, 32, 64, 96, 128]),
        "model.networks.generator_width": tune.choice([256, 512, 1024]),
        "model.networks.critic_width": tune.choice([128, 256, 512]),
    }
    if "model.objective.a" in settings:
        keys["model.objective"] = tune.choice(CODINGS)
    if penalised:
        keys["model.penalty.weight"] = tune.loguniform(0.1, 100.0)
        keys["model.repeats"] = tune.choice([1, 2, 3, 5])
    return Space(config, keys, metric="frechet/fakes", max_epochs=60, grace=5)
