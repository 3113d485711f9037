"""The spaces of the translators between two domains."""

from __future__ import annotations

from typing import Any

from ray import tune

from gen.config import RunConfig
from tune_spaces.space import InTurn, Space

METRIC = "frechet/translations/b"
GENERATOR, CRITIC = "model.generator_optimizer.rate", "model.critic_optimizer.rate"
GENERATORS = [{"kind": "residual", "blocks": tune.choice([3, 6, 9])}, {"kind": "unet"}]
LEAST_SQUARES, CROSS_ENTROPY = {"kind": "least_squares"}, {"kind": "non_saturating"}
OBJECTIVES = [{"objective": LEAST_SQUARES, "game": 2.0}, {"objective": CROSS_ENTROPY, "game": 1.0}]
PUBLISHED = {"objective": LEAST_SQUARES, "game": 2.0, "cycle": 10.0, "cycled": "both", "identity": 0.5}
ABLATIONS = [  # CycleGAN, tables 4 and 5, section 5.2, and the objective
    PUBLISHED,
    {**PUBLISHED, "identity": 0.0},
    {**PUBLISHED, "identity": 0.0, "cycle": 0.0},  # the game alone
    {**PUBLISHED, "identity": 0.0, "game": 0.0},  # the cycle alone
    {**PUBLISHED, "identity": 0.0, "cycled": "a"},  # the forward cycle
    {**PUBLISHED, "identity": 0.0, "cycled": "b"},  # the backward cycle
    {**PUBLISHED, "objective": CROSS_ENTROPY, "game": 1.0},
]


def space(config: RunConfig) -> Space:
    """Ranked by the Frechet distance of the translations into b: `--metric` names another. Of cross-entropy and least
    squares each has the weight that leaves lambda its meaning."""
    keys: dict[str, Any] = {
        "model": tune.choice(OBJECTIVES),
        "model.cycle": tune.loguniform(1.0, 30.0),
        "model.identity": tune.choice([0.0, 0.1, 0.5, 1.0]),
        "model.pool": tune.choice([0, 50]),
        "model.generator": tune.choice(GENERATORS),
        "model.generator.width": tune.choice([32, 64]),
        "model.critic.width": tune.choice([32, 64]),
        GENERATOR: tune.loguniform(5e-5, 1e-3),
        CRITIC: tune.loguniform(5e-5, 1e-3),
    }
    return Space(config, keys, metric=METRIC, max_epochs=40, grace=5)


def ablations(config: RunConfig) -> Space:
    """The paper's losses without one part or another, one after another and none stopped early: with --seeds, as many
    runs of each."""
    keys = {"model": InTurn(ABLATIONS)}
    return Space(config, keys, metric=METRIC, max_epochs=40, grace=40, reduction=2, samples=len(ABLATIONS))
