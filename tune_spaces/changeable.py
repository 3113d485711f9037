"""Settings that may change while a run goes on, which alone a population searches: they change no weight's shape, no
image that is drawn and no figure that is measured, but only how the next step moves the weights."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ray.tune.search.sample import Categorical

from gen.config import RunConfig, flat, to_dotted
from tune_spaces.space import InTurn, Space

WEIGHTS = "adversarial|beta|cycle|game|gamma|identity|matching|reconstruction|supervised|unsupervised"  # of losses
CHANGEABLE = re.compile(
    r"model\.(\w+_)?optimizer\.(rate|beta1|beta2|smoothing|weight_decay)"
    rf"|model\.({WEIGHTS})"
    r"|model\.objective\.(a|b|c|smoothing)"
    r"|model\.penalty\.(weight|limit)"
    r"|train\.clip"
)


def changeable(config: RunConfig) -> list[str]:
    """The settings of an entry that may change while a run of it goes on."""
    return [key for key, value in flat(config).items() if CHANGEABLE.fullmatch(key) and isinstance(value, float)]


def only_changeable(space: Space, named: Collection[str]) -> tuple[Space, list[str]]:
    """A space without the settings that cannot change on the way, and their keys. ValueError if one of these is `named`
    by the user, or if nothing is left."""
    may = changeable(space.config)
    wrong = [key for key, domain in space.keys.items() if not {*leaves(key, domain)} <= {*may}]
    allowed = f"allowed: {', '.join(may)}"
    if asked := [key for key in wrong if key in named]:
        raise ValueError(f"search {asked[0]}: it cannot change while a run of a population goes on; {allowed}")
    keys = {key: domain for key, domain in space.keys.items() if key not in wrong}
    if not keys:
        raise ValueError(
            f"a population of {space.config.entry} has nothing to search; say --search KEY=V1,V2; {allowed}"
        )
    tied = {key: other for key, other in space.tied.items() if key in keys and other in keys}
    return replace(space, keys=keys, tied=tied), wrong


def searched(space: Space, config: RunConfig) -> dict[str, Any]:
    """The values of a config in all settings that a space searches."""
    values = flat(config)
    found = dict.fromkeys(leaf for key, domain in space.keys.items() for leaf in leaves(key, domain))
    return {key: values[key] for key in found}


def leaves(key: str, value: Any) -> Iterator[str]:
    """The settings that a domain at a key may set."""
    if isinstance(value, (Categorical, InTurn)):
        for choice in value.choices if isinstance(value, InTurn) else value.categories:
            yield from leaves(key, choice)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from (leaf for part in to_dotted({f"{key}.{name}": None}) for leaf in leaves(part, inner))
    else:
        yield key
