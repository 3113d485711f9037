"""The space of each family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gen.config import RunConfig
from tune_spaces import cyclegan, gan, prior, semi_supervised, vae, vaegan, vqvae
from tune_spaces.space import Space

SPACES: dict[str, Callable[[RunConfig], Space]] = {
    "cyclegan": cyclegan.space,
    "gan": gan.space,
    "prior_gmm": prior.mixture,
    "prior_pixelcnn": prior.pixelcnn,
    "prior_vae": prior.vae,
    "semi_supervised": semi_supervised.space,
    "vae": vae.space,
    "vaegan": vaegan.space,
    "vqvae": vqvae.space,
}

NAMED: dict[str, dict[str, Callable[[RunConfig], Space]]] = {
    "cyclegan": {"ablations": cyclegan.ablations},
    "gan": {"losses": gan.losses, "wide": gan.wide, "wide_games": gan.wide_games},
}
"""Family -> its other spaces, by the names that --space takes."""

NONE = "none"  # a name that every family has, of a space that draws nothing: the entry as it is


def space_for(config: RunConfig, name: str = "") -> Space:
    """A search space of `config`'s family, laid over `config`: the one of that name; "": the family's own; "none": its
    figure and its budget, and nothing to draw. ValueError if the family has none."""
    if config.family not in SPACES:
        raise ValueError(f"family {config.family!r} has no search space; those with one: {', '.join(sorted(SPACES))}")
    named = NAMED.get(config.family, {}) | {NONE: fixed}
    if name and name not in named:
        family = config.family in NAMED
        have = f"allowed: {', '.join(named)}, or leave it out" if family else f"it has its own only; allowed: {NONE}"
        raise ValueError(f"space={name!r} is no search space of family {config.family}; {have}")
    return named[name](config) if name else SPACES[config.family](config)


def fixed(config: RunConfig) -> Space:
    """The family's space with nothing to draw."""
    return replace(SPACES[config.family](config), keys={}, tied={})
