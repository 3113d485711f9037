"""What a search draws from, and what a user may change of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ray import tune

from gen.config import RunConfig, flat, override


@dataclass(frozen=True)
class Space:
    """Dotted keys of one entry's config with their distributions, and the budget of its search.

    A value is a domain of `ray.tune`. One that samples a dict stands for the keys below its own, and the dict may hold
    further domains: so settings that mean something only together, or only with one another, are drawn together.
    """

    config: RunConfig  # the entry that draws are laid over
    keys: Mapping[str, Any]  # dotted key -> domain
    metric: str  # what ranks its runs, as NAME/SUBJECT
    mode: Literal["min", "max"] = "min"  # whether small or large is good
    max_epochs: int = 30  # epochs of a run that is never stopped
    grace: int = 2  # epochs before which none is stopped
    reduction: int = 3  # of the runs at a rung, one in so many goes on
    samples: int = 32  # configurations
    scales: Mapping[str, Sequence[str]] = field(
        default_factory=dict
    )  # start of a figure's name -> what changes its scale
    fixed: frozenset[str] = field(default=frozenset())  # keys that no dict of a key above them sets


def extend(space: Space, choices: Mapping[str, str]) -> Space:
    """`space` with a choice among values for each key, "train.batch": "32,64,128", in place of what was there.

    ValueError for an unknown key (names the nearest valid ones) and for a value of the wrong type or out of range.
    """
    keys: dict[str, Any] = {}
    for key, values in choices.items():
        parsed = [flat(override(space.config, {key: value.strip()}))[key] for value in values.split(",")]
        keys[key] = tune.choice(parsed)
    space = pin(space, keys)
    return replace(space, keys={**space.keys, **keys})


def pin(space: Space, keys: Iterable[str]) -> Space:
    """`space` without `keys` and all below them: they keep the values of the config that draws are laid over. Where one
    is drawn by the dict of a key above it, the rest of that dict still is."""
    pinned = frozenset(keys)
    kept = {key: domain for key, domain in space.keys.items() if not covered(key, pinned)}
    return replace(space, keys=kept, fixed=space.fixed | pinned)


def covered(key: str, keys: Iterable[str]) -> bool:
    """Whether `key` is one of `keys` or below one."""
    return any(key == above or key.startswith(f"{above}.") for above in keys)
