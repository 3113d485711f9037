"""What a search draws from, and what a user may change of it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from dataclasses import fields as fields_of
from typing import Any

from ray import tune

from gen.config import RunConfig, flat, override
from gen.config.variants import is_variant, kinds_of, name_of
from gen.results.renamed import as_choices, present_key, to_present


@dataclass(frozen=True)
class InTurn:
    """Choices that the configurations of a search take in turn, so that each gets as many runs as the others."""

    choices: Sequence[Any]


@dataclass(frozen=True)
class Space:
    """The search space of one entry: dotted keys with their distributions, and the budget of the search.

    A distribution is a domain of `ray.tune`, or `InTurn`. It may give a dict: the dict holds settings of the group at
    that key, and may hold domains again. So settings that mean something only together are drawn together.
    """

    config: RunConfig  # whose settings a draw replaces
    keys: Mapping[str, Any]  # dotted key -> domain
    metric: str  # figure that ranks the runs, NAME/SUBJECT
    max_epochs: int = 30  # epochs of a run that is never stopped
    grace: int = 2  # epochs before which none is stopped
    reduction: int = 3  # of the runs at a rung, one in so many goes on
    samples: int = 32  # configurations
    fixed: frozenset[str] = field(default=frozenset())  # keys ("model.codebook.update") that keep the config's values,
    # even where a dict that is drawn for their group ("model.codebook") has other values for them
    each: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # key of `CONDITIONS` -> values with each of which
    # every configuration is trained: none of them is to win
    tied: Mapping[str, str] = field(default_factory=dict)  # key -> another key that has the same domain, and the same
    # values: one rate for both players, say


CONDITIONS = ("data.labels",)
"""Settings under each of whose values a search compares the same configurations. They are settings of data that leave
the held-out images as they are, so that there is a figure by which all runs compare."""


def extend(space: Space, choices: Mapping[str, str]) -> Space:
    """`space` in which each key of `choices` is drawn among the values given for it: {"train.batch": "32,64,128"}. A
    key of `CONDITIONS` is not drawn: every configuration gets each of its values.

    The key of a variant takes names of kinds; its fields are still searched if all of these kinds have them.
    ValueError for an unknown key (names the nearest valid ones), for a value of the wrong type or out of range, and for
    a field that one of the kinds does not have.
    """
    keys, each = dict[str, Any](), dict(space.each)
    configs = [space.config]
    forms = {
        name: [to_present(space.config.family, {name: value.strip()}) for value in values.split(",")]
        for name, values in choices.items()
    }
    for name in forms:
        check_kinds(space.config, name, forms)
    for of_name in forms.values():
        overridden = [override(space.config, form) for form in of_name]
        checked = [
            {leaf: flat(config)[leaf] for leaf in form} for form, config in zip(of_name, overridden, strict=True)
        ]
        key, found = as_choices(checked)
        if key in CONDITIONS:
            each[key] = list(dict.fromkeys(found))
        else:
            keys[key] = tune.choice(found)
        configs += overridden
    space = _shut(space, keys, configs)
    return replace(space, keys={**space.keys, **keys}, each=each)


def check_kinds(config: RunConfig, name: str, forms: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """ValueError if the choice `name` sets a field of a variant that the kind in force does not have, or one of the
    kinds that another choice tries: a draw of the one does not know of the other's."""
    own = {leaf for form in forms[name] for leaf in form}
    others = [form for other, of_other in forms.items() if other != name for form in of_other]
    for leaf in own:
        group: Any = config
        parts = leaf.split(".")
        for number, part in enumerate(parts[:-1], 1):
            parent, group, key = group, getattr(group, part, None), ".".join(parts[:number])
            if group is None or key in own or not is_variant(group):
                continue
            fields = {kind: {entry.name for entry in fields_of(of)} for kind, of in kinds_of(parent, part).items()}
            tried = dict.fromkeys([name_of(group), *(form[key] for form in others if key in form)])
            have = [kind for kind in fields if parts[number] in fields[kind]]
            lack = [kind for kind in tried if kind in fields and kind not in have]
            if have and lack:
                beside = f" and leave --search {key} out" if any(key in form for form in others) else ""
                raise ValueError(
                    f"{leaf} is a setting of {' and '.join(have)}, and {key} is {' or '.join(lack)}: to search it, say "
                    f"its kind by --set {key}={have[0]}{beside}"
                )


def pin(space: Space, keys: Iterable[str]) -> Space:
    """`space` in which `keys`, and all settings inside them, keep the values of its config. Where a key is the kind of
    a variant, the variant's fields that have keys of their own are still searched. Where a key is part of a dict that
    is drawn, the rest of that dict is still drawn."""
    return _shut(space, [present_key(space.config.family, key) for key in keys], [space.config])


def _shut(space: Space, keys: Iterable[str], configs: Sequence[RunConfig]) -> Space:
    """`space` without `keys`. If a key is a variant, its fields stay in the space that the kinds in all of `configs`
    inherit from a common base: a field of the same name may mean another thing in another kind (units, channels)."""
    shut = frozenset(keys)
    fields = set.intersection(*(set(flat(config)) for config in configs))
    variants = {key for key in shut if key in fields and any(name.startswith(f"{key}.") for name in fields)}

    def stays(key: str) -> bool:
        above = [variant for variant in variants if is_covered(key, [variant])]
        shared = all(key.removeprefix(f"{one}.").partition(".")[0] in shared_fields(one, configs) for one in above)
        return key not in shut and not is_covered(key, shut - variants) and (not above or (key in fields and shared))

    return replace(
        space,
        keys={key: domain for key, domain in space.keys.items() if stays(key)},
        fixed=space.fixed | shut,
        tied={key: other for key, other in space.tied.items() if key not in shut and stays(key)},
    )


def shared_fields(key: str, configs: Sequence[RunConfig]) -> set[str]:
    """Names of the fields that the kinds at a variant's key, in all of `configs`, inherit from a common base."""
    kinds = [type(functools.reduce(getattr, key.split("."), config)) for config in configs]
    bases = [base for base in kinds[0].__mro__ if is_dataclass(base) and all(issubclass(kind, base) for kind in kinds)]
    return {entry.name for base in bases for entry in fields_of(base)}


def is_covered(key: str, keys: Iterable[str]) -> bool:
    """Whether `key` is one of `keys`, or a setting inside one."""
    return any(key == above or key.startswith(f"{above}.") for above in keys)
