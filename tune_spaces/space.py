"""What a search draws from, and what a user may change of it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from dataclasses import fields as fields_of
from typing import Any

from ray import tune

from gen.config import RunConfig, flat, override
from gen.results.renamed import as_choices, present_key, to_present


@dataclass(frozen=True)
class Space:
    """Dotted keys of one entry's config with their distributions, and the budget of its search.

    A value is a domain of `ray.tune`. One that samples a dict stands for the keys below its own, and the dict may hold
    further domains: so settings that mean something only together, or only with one another, are drawn together.
    """

    config: RunConfig  # the entry that draws are laid over
    keys: Mapping[str, Any]  # dotted key -> domain
    metric: str  # what ranks its runs, as NAME/SUBJECT
    max_epochs: int = 30  # epochs of a run that is never stopped
    grace: int = 2  # epochs before which none is stopped
    reduction: int = 3  # of the runs at a rung, one in so many goes on
    samples: int = 32  # configurations
    fixed: frozenset[str] = field(default=frozenset())  # keys that keep the config's values, also where a dict that is
    # drawn for a group above them ("model.codebook") has a value for them ("model.codebook.update")


def extend(space: Space, choices: Mapping[str, str]) -> Space:
    """`space` with a choice among values for each key, "train.batch": "32,64,128", in place of what was there.

    A key of a variant takes names of kinds; what is searched of its fields stays where all of these have them.
    ValueError for an unknown key (names the nearest valid ones) and for a value of the wrong type or out of range.
    """
    keys: dict[str, Any] = {}
    configs = [space.config]
    for name, values in choices.items():
        forms = [to_present(space.config.family, {name: value.strip()}) for value in values.split(",")]
        overridden = [override(space.config, form) for form in forms]
        checked = [{leaf: flat(config)[leaf] for leaf in form} for form, config in zip(forms, overridden, strict=True)]
        key, found = as_choices(checked)
        keys[key] = tune.choice(found)
        configs += overridden
    space = _shut(space, keys, configs)
    return replace(space, keys={**space.keys, **keys})


def pin(space: Space, keys: Iterable[str]) -> Space:
    """`space` without `keys`, which keep the values of the config that draws are laid over, and without all below them.
    Of a variant whose kind alone is pinned, the fields that have keys of their own are still searched. Where a key is
    drawn by the dict of one above it, the rest of that dict still is."""
    return _shut(space, [present_key(space.config.family, key) for key in keys], [space.config])


def _shut(space: Space, keys: Iterable[str], configs: Sequence[RunConfig]) -> Space:
    """`space` without `keys`. Of the fields of a variant at one of these keys there stay those that the kinds in all of
    `configs` share by a common base: a field of the same name means another thing in another kind (units, channels)."""
    shut = frozenset(keys)
    fields = set.intersection(*(set(flat(config)) for config in configs))
    variants = {key for key in shut if key in fields and any(name.startswith(f"{key}.") for name in fields)}

    def stays(key: str) -> bool:
        above = [variant for variant in variants if is_covered(key, [variant])]
        shared = all(key.removeprefix(f"{one}.").partition(".")[0] in shared_fields(one, configs) for one in above)
        return key not in shut and not is_covered(key, shut - variants) and (not above or (key in fields and shared))

    return replace(
        space, keys={key: domain for key, domain in space.keys.items() if stays(key)}, fixed=space.fixed | shut
    )


def shared_fields(key: str, configs: Sequence[RunConfig]) -> set[str]:
    """Names of the fields that the kinds at a variant's key have from a class that all of them are of."""
    kinds = [type(functools.reduce(getattr, key.split("."), config)) for config in configs]
    bases = [base for base in kinds[0].__mro__ if is_dataclass(base) and all(issubclass(kind, base) for kind in kinds)]
    return {entry.name for base in bases for entry in fields_of(base)}


def is_covered(key: str, keys: Iterable[str]) -> bool:
    """Whether `key` is one of `keys` or below one."""
    return any(key == above or key.startswith(f"{above}.") for above in keys)
