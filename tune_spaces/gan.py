"""The spaces of the adversarial entries: what they share, what each one's objective and penalty add, and the wide space
of an equal-budget comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ray import tune

from gen.config import RunConfig, flat
from tune_spaces.space import InTurn, Space

METRIC = "frechet/fakes"
FIRST = ("gan_mlp", "lsgan_mlp", "wgan_gp_mlp")  # entries of which searches are on record: their space stays
CODINGS = [
    {"a": 0.0, "b": 1.0, "c": 1.0},  # LSGAN, eq. 9
    {"a": -1.0, "b": 1.0, "c": 0.0},  # LSGAN, eq. 8: b - c = 1 and b - a = 2, Pearson's chi-squared divergence
    {"a": tune.uniform(-1.0, 0.5), "b": tune.uniform(0.75, 1.5), "c": tune.uniform(-0.5, 1.5)},  # free
]
LAMBDA, CLIPPING = tune.loguniform(0.1, 100.0), tune.loguniform(1e-3, 1.0)
PLAIN = {"kind": "none"}
GAMES = [  # objectives, each with a penalty that it is played with
    {"objective": "saturating", "penalty": PLAIN},
    {"objective": "non_saturating", "penalty": PLAIN},
    {"objective": "least_squares", "penalty": PLAIN},
    {"objective": "hinge", "penalty": PLAIN},
    {"objective": "wasserstein", "penalty": {"kind": "clipping", "limit": CLIPPING}},
    {"objective": "wasserstein", "penalty": {"kind": "one_centred", "weight": LAMBDA}},
    {"objective": "non_saturating", "penalty": {"kind": "dragan", "weight": LAMBDA}},
]
WGAN_ADAM = {"kind": "adam", "rate": 1e-4, "beta1": 0.0, "beta2": 0.9}
LOSSES = [
    {"objective": "non_saturating", "penalty": PLAIN},
    {"objective": "least_squares", "penalty": PLAIN},
    {
        "objective": "wasserstein",
        "penalty": {"kind": "one_centred", "weight": 10.0},
        "repeats": 5,
        "generator_optimizer": WGAN_ADAM,
        "critic_optimizer": WGAN_ADAM,
    },
    {"objective": "non_saturating", "penalty": {"kind": "dragan", "weight": 10.0}},
    {"objective": "hinge", "penalty": PLAIN},
]
GENERATOR, CRITIC = "model.generator_optimizer", "model.critic_optimizer"
OBJECTIVE, PENALTY, NORM = "model.objective", "model.penalty", "model.networks.critic_norm"


def space(config: RunConfig) -> Space:
    """Ranked by the fakes' Frechet distance. An entry that is named after its objective or its penalty keeps it, and
    the fields of both are searched; in the others, objective and penalty are drawn together."""
    settings = flat(config)
    if config.entry in FIRST and "model.networks.depth" in settings:
        return first_space(config)
    keys: dict[str, Any] = {f"{player}.rate": tune.loguniform(2e-5, 1e-3) for player in (GENERATOR, CRITIC)}
    for player in (GENERATOR, CRITIC):
        if f"{player}.beta1" in settings:
            keys[f"{player}.beta1"] = tune.choice([0.0, 0.5, 0.9])
            keys[f"{player}.beta2"] = tune.choice([0.9, 0.99, 0.999])
    for width in ("model.networks.generator_width", "model.networks.critic_width"):
        own = settings[width]
        keys[width] = tune.choice([max(own // 2, 1), own, 2 * own])
    keys["model.latent"] = tune.choice(sorted({32, 64, 128, settings["model.latent"]}))
    keys["model.repeats"] = tune.choice([1, 2, 3, 5])
    keys[NORM] = tune.choice(norms(settings))
    if "model.objective.a" in settings:
        keys[OBJECTIVE] = tune.choice(CODINGS)
    elif (settings[OBJECTIVE], settings[PENALTY]) == ("non_saturating", "none"):
        keys["model"] = tune.choice(GAMES)
    keys |= strengths(settings)
    return Space(config, keys, metric=METRIC, max_epochs=30, grace=3, tied=tied(keys, ("beta1", "beta2")))


def first_space(config: RunConfig) -> Space:
    """The space of the first entries. A penalty and several critic steps are searched if the entry has them."""
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
        keys["model.penalty.weight"] = LAMBDA
        keys["model.repeats"] = tune.choice([1, 2, 3, 5])
    return Space(config, keys, metric=METRIC, max_epochs=60, grace=5)


def wide(config: RunConfig) -> Space:
    """The wide ranges of Lucic et al. 2018, https://arxiv.org/abs/1711.10337: equal for all objectives and penalties,
    of which a search keeps those of its entry. All play by Adam, as there, at one rate and one beta1 for both
    players; beta1 ends at 0.999, for Adam takes none of 1."""
    settings = flat(config)
    keys: dict[str, Any] = {}
    for player in (GENERATOR, CRITIC):
        if f"{player}.beta1" not in settings:
            keys[player] = tune.choice(["adam"])
        keys[f"{player}.rate"] = tune.loguniform(1e-5, 1e-2)
        keys[f"{player}.beta1"] = tune.uniform(0.0, 0.999)
    keys["model.repeats"] = tune.choice([1, 2, 3, 4, 5])
    keys[NORM] = tune.choice(["none", "batch"])
    keys["train.batch"] = tune.choice([64])
    keys |= strengths(settings)
    both = tied(keys, ("rate", "beta1"))
    return Space(config, keys, metric=METRIC, max_epochs=30, grace=3, samples=100, tied=both)


def wide_games(config: RunConfig) -> Space:
    """The wide ranges, with objective and penalty drawn together too, as pairs that are played."""
    found = wide(config)
    keys = {key: domain for key, domain in found.keys.items() if not key.startswith(f"{PENALTY}.")}
    return replace(found, keys={**keys, "model": tune.choice(GAMES)})


def losses(config: RunConfig) -> Space:
    """The losses that papers compare, each as published, one after another and none stopped early: with --seeds, as
    many runs of each. All see as many real images; the generator of WGAN-GP moves once in five moves of its critic."""
    keys = {"model": InTurn(LOSSES)}
    return Space(config, keys, metric=METRIC, max_epochs=30, grace=30, reduction=2, samples=len(LOSSES))


def norms(settings: Mapping[str, Any]) -> list[str]:
    """Norms of the critic that suit its penalty and its layers. A gradient penalty is of each image by itself, which
    BatchNorm is not (Gulrajani et al. 2017, section 4)."""
    if f"{PENALTY}.weight" in settings:
        found = ["none", "layer", "instance"]
    elif f"{PENALTY}.limit" in settings:
        found = ["none", "batch", "layer"]
    else:
        found = ["none", "batch", "layer", "spectral"]
    flat_critic = settings.get("model.networks.depth") == 1  # its one hidden layer is its first, which has no norm
    return [norm for norm in found if norm in ("none", "spectral")] if flat_critic else found


def strengths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The ranges of the penalty's strength, if there is a penalty."""
    ranges = {f"{PENALTY}.weight": LAMBDA, f"{PENALTY}.limit": CLIPPING}
    return {key: domain for key, domain in ranges.items() if key in settings}


def tied(keys: Iterable[str], fields: Iterable[str]) -> dict[str, str]:
    """Those of the critic's optimiser's fields that have the generator's values."""
    pairs = {f"{CRITIC}.{field}": f"{GENERATOR}.{field}" for field in fields}
    return {critic: generator for critic, generator in pairs.items() if {critic, generator} <= set(keys)}
