"""The space of each family."""

from __future__ import annotations

from collections.abc import Callable

from gen.config import RunConfig
from tune_spaces import gan, prior, vae, vqvae
from tune_spaces.space import Space

SPACES: dict[str, Callable[[RunConfig], Space]] = {
    "gan": gan.space,
    "prior_gmm": prior.mixture,
    "prior_pixelcnn": prior.pixelcnn,
    "prior_vae": prior.vae,
    "vae": vae.space,
    "vqvae": vqvae.space,
}


def space_for(config: RunConfig) -> Space:
    """The search space of `config`'s family, laid over `config`. ValueError if the family has none."""
    if config.family not in SPACES:
        raise ValueError(f"family {config.family!r} has no search space; those with one: {', '.join(sorted(SPACES))}")
    return SPACES[config.family](config)
