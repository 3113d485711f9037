"""The space of VAE-GAN."""

from __future__ import annotations

from typing import Any

from ray import tune

from gen.config import RunConfig, flat
from tune_spaces.gan import CRITIC, METRIC, norms
from tune_spaces.space import Space

PLAYERS = ("model.encoder_optimizer", "model.decoder_optimizer", CRITIC)


def space(config: RunConfig) -> Space:
    """Ranked by the fakes' Frechet distance. Distortions are no objective: each is measured by the run's own critic."""
    settings = flat(config)
    depth = settings.get(
        "model.networks.depth", 3
    )  # hidden layers of the critic; convolutional ones have three or more
    keys: dict[str, Any] = {f"{player}.rate": tune.loguniform(5e-5, 1e-3) for player in PLAYERS}
    keys |= {
        "model.gamma": tune.loguniform(1e-6, 1e-1),
        "model.beta": tune.loguniform(0.1, 10.0),
        "model.layer": tune.choice([*range(1, min(depth, 3) + 1)]),
        "model.latent": tune.choice(sorted({32, 64, 128, 256, settings["model.latent"]})),
        "model.repeats": tune.choice([1, 2, 3]),
        "model.networks.critic_norm": tune.choice(norms(settings)),
    }
    for width in ("model.networks.generator_width", "model.networks.critic_width"):
        own = settings[width]
        keys[width] = tune.choice([max(own // 2, 1), own, 2 * own])
    return Space(config, keys, metric=METRIC, max_epochs=30, grace=3)
