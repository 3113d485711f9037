"""Configurations drawn from a space: the same ones on every machine, however many there are."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from ray.tune.search.sample import Domain

from gen.config import to_dotted
from gen.results.renamed import first_key
from tune_spaces.space import InTurn, Space, is_covered


def draw(space: Space, seed: int, index: int) -> dict[str, Any]:
    """Configuration number `index` of a search, dotted key -> plain value. What is drawn for a key depends on the seed,
    the index and the key alone, so that adding or pinning a key changes nothing for the others. A key that is tied to
    another takes that one's chance, and so its value, even where that one is pinned."""
    settings: dict[str, Any] = {}
    for key, domain in space.keys.items():
        # so that a setting that is renamed is drawn as it was before
        first = first_key(space.config.family, space.tied.get(key, key))
        if isinstance(domain, InTurn):
            domain = domain.choices[index % len(domain.choices)]
        generator = np.random.default_rng([seed, index, zlib.crc32(first.encode())])
        drawn = to_dotted(dict(_leaves(key, domain, generator)))
        below = [fixed for fixed in space.fixed if fixed.startswith(f"{key}.")]
        settings |= {leaf: value for leaf, value in drawn.items() if not is_covered(leaf, below)}
    return settings


def _leaves(key: str, value: Any, generator: np.random.Generator) -> Iterator[tuple[str, Any]]:
    """What `value` samples, as dotted keys and plain values."""
    while isinstance(value, Domain):
        value = value.sample(random_state=generator)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner, generator)
    else:
        yield key, value.item() if isinstance(value, np.generic) else value
