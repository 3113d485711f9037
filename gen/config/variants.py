"""Settings that are one of several kinds of thing: an objective, a penalty, a likelihood, networks, an optimiser.

A family is a frozen dataclass whose class attribute `kinds` maps names to its siblings, each a frozen dataclass with
defaults for all of its fields. A setting of the family's type holds one of them; its name is a setting itself, under
the key of the group: `model.objective` is "least_squares", `model.objective.a` a field of that kind. In JSON the name
is the group's "kind".
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Hashable, Mapping
from typing import Any

KIND = "kind"  # of a group in JSON and in sampled dicts; no field has that name


def is_group(value: Any) -> bool:
    """Whether a setting's value holds settings itself."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def is_variant(value: Any) -> bool:
    """Whether a setting's value is one of several kinds."""
    return is_group(value) and hasattr(value, "kinds")


def name_of(variant: Any) -> str:
    """The name of a kind among its siblings."""
    found: str = next(name for name, kind in variant.kinds.items() if kind is type(variant))
    return found


def kinds_of(group: Any, name: str) -> Mapping[str, type]:
    """The kinds that the field `name` of a group may hold: a field may allow fewer than there are."""
    kinds: Mapping[str, type] = hints(type(group))[name].kinds
    return kinds


def hints(group: Any) -> dict[str, Any]:
    """The types of the fields of a group's class."""
    return _hints(group)


@functools.cache
def _hints(group: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(group)


def flat(group: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, for every leaf of a group and the name of every variant in it."""
    leaves: dict[str, Any] = {}
    for entry in dataclasses.fields(group):
        value, key = getattr(group, entry.name), prefix + entry.name
        if is_variant(value):
            leaves[key] = name_of(value)
        leaves |= flat(value, f"{key}.") if is_group(value) else {key: value}
    return leaves


def to_tree(group: Any) -> dict[str, Any]:
    """The same as a tree, for JSON."""
    tree: dict[str, Any] = {KIND: name_of(group)} if is_variant(group) else {}
    for entry in dataclasses.fields(group):
        value = getattr(group, entry.name)
        tree[entry.name] = to_tree(value) if is_group(value) else value
    return tree


def to_dotted(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of settings by dotted keys, as `flat` has them; what is dotted already stays."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        key = prefix.removesuffix(".") if prefix and name == KIND else prefix + name.removesuffix(f".{KIND}")
        leaves |= to_dotted(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return leaves


def uncommon(group: Any, prefix: str = "") -> dict[str, Any]:
    """`flat`, without the leaves that equal their fields' defaults: what a group is known by. A setting that is added
    with a default which means what was done before changes nobody's."""
    return _uncommon(group, None, prefix)


def _uncommon(group: Any, default: Any, prefix: str) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for entry in dataclasses.fields(group):
        value, key = getattr(group, entry.name), prefix + entry.name
        usual = getattr(default, entry.name) if default is not None else default_of(entry)
        alike = type(usual) is type(value)
        if is_variant(value) and not alike:
            leaves[key] = name_of(value)
        if is_group(value):
            leaves |= _uncommon(value, usual if alike else None, f"{key}.")
        elif not alike or value != usual:
            leaves[key] = value
    return leaves


def default_of(entry: dataclasses.Field[Any]) -> Any:
    """A field's default; MISSING, which equals no value, if it has none."""
    if entry.default_factory is not dataclasses.MISSING:
        return entry.default_factory()
    return entry.default
