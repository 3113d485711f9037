"""The space of each family."""

from __future__ import annotations

from collections.abc import Callable

from gen.config import RunConfig
from tune_spaces import gan, prior, semi_supervised, vae, vqvae
from tune_spaces.space import Space

SPACES: dict[str, Callable[[RunConfig], Space]] = {
    "gan": gan.space,
    "prior_gmm": prior.mixture,
    "prior_pixelcnn": prior.pixelcnn,
    "prior_vae": prior.vae,
    "semi_supervised": semi_supervised.space,
    "vae": vae.space,
    "vqvae": vqvae.space,
}

NAMED: dict[str, dict[str, Callable[[RunConfig], Space]]] = {
    "gan": {"losses": gan.losses, "wide": gan.wide, "wide_games": gan.wide_games}
}
"""Family -> its other spaces, by the names that --space takes."""


def space_for(config: RunConfig, name: str = "") -> Space:
    """A search space of `config`'s family, laid over `config`: the one of that name; "": the family's own. ValueError
    if the family has none."""
    if config.family not in SPACES:
        raise ValueError(f"family {config.family!r} has no search space; those with one: {', '.join(sorted(SPACES))}")
    named = NAMED.get(config.family, {})
    if name and name not in named:
        have = f"allowed: {', '.join(named)}, or leave it out" if named else "it has its own only; leave --space out"
        raise ValueError(f"space={name!r} is no search space of family {config.family}; {have}")
    return named[name](config) if name else SPACES[config.family](config)
