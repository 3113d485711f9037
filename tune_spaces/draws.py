"""Configurations drawn from a space: the same ones on every machine, however many there are."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from ray.tune.search.sample import Categorical, Domain

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
        settings |= free(space, key, to_dotted(dict(_leaves(key, domain, generator))))
    return settings


def free(space: Space, key: str, drawn: dict[str, Any]) -> dict[str, Any]:
    """What was drawn for a key, without the settings below it that are to stay as they are."""
    below = [fixed for fixed in space.fixed if fixed.startswith(f"{key}.")]
    return {leaf: value for leaf, value in drawn.items() if not is_covered(leaf, below)}


def every(space: Space, most: int) -> list[dict[str, Any]] | None:
    """All configurations that a space has, each as `draw` gives it, in the order of its values; None if these are more
    than `most`, as where a range is among them."""
    own = {key: domain for key, domain in space.keys.items() if space.tied.get(key) not in space.keys}
    if math.prod(map(_count, own.values())) > most:
        return None
    found = dict[str, dict[str, Any]]()
    for values in itertools.product(*(list(_all(key, domain)) for key, domain in own.items())):
        given = {key: to_dotted(dict(leaves)) for key, leaves in zip(own, values, strict=True)}
        for key, other in space.tied.items():
            if key in space.keys and other in own:
                given[key] = {f"{key}{leaf.removeprefix(other)}": value for leaf, value in given[other].items()}
        parts = [free(space, key, given[key]) for key in space.keys]
        settings = {leaf: value for part in parts for leaf, value in part.items()}
        found[repr(settings)] = settings
    return list(found.values())


def _choices(value: Any) -> list[Any] | None:
    """The values that a domain chooses among; None if it has a range of them."""
    if isinstance(value, InTurn):
        return list(value.choices)
    return list(value.categories) if isinstance(value, Categorical) else None


def _count(value: Any) -> float:
    """How many configurations `value` samples, each counted as often as it occurs."""
    if isinstance(value, (Domain, InTurn)):
        choices = _choices(value)
        return math.inf if choices is None else sum(map(_count, choices))
    return math.prod(map(_count, value.values())) if isinstance(value, dict) else 1


def _all(key: str, value: Any) -> Iterator[list[tuple[str, Any]]]:
    """All that `value` samples, each as dotted keys and plain values."""
    if choices := _choices(value):
        for choice in choices:
            yield from _all(key, choice)
    elif isinstance(value, dict):
        for parts in itertools.product(*(list(_all(f"{key}.{name}", inner)) for name, inner in value.items())):
            yield [leaf for part in parts for leaf in part]
    else:
        yield [(key, value.item() if isinstance(value, np.generic) else value)]


def _leaves(key: str, value: Any, generator: np.random.Generator) -> Iterator[tuple[str, Any]]:
    """What `value` samples, as dotted keys and plain values."""
    while isinstance(value, Domain):
        value = value.sample(random_state=generator)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner, generator)
    else:
        yield key, value.item() if isinstance(value, np.generic) else value
