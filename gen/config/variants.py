"""Settings that are one of several kinds of thing: an objective, a penalty, a likelihood, networks, an optimiser.

A family is a class whose attribute `kinds` maps names to the kinds: frozen dataclasses with defaults for all of their
fields. A variant is a setting whose type is a family, and its value is one of the kinds. The name of that kind is a
setting too, under the variant's key: `model.objective` is "least_squares", and `model.objective.a` is a field of that
kind. In JSON the name stands under "kind" beside the fields.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any

KIND = "kind"  # key of a kind's name in JSON and in sampled dicts; no field has that name


def is_group(value: Any) -> bool:
    """Whether a setting's value is a group: a dataclass whose fields are settings."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def is_variant(value: Any) -> bool:
    """Whether a setting's value is one of several kinds."""
    return is_group(value) and hasattr(value, "kinds")


def name_of(variant: Any) -> str:
    """The name of a kind among its siblings."""
    found: str = next(name for name, kind in variant.kinds.items() if kind is type(variant))
    return found


def kinds_of(group: Any, name: str) -> Mapping[str, type]:
    """The kinds that the variant in field `name` of a group can have: a field may allow fewer than the family has."""
    kinds: Mapping[str, type] = hints(type(group))[name].kinds
    return kinds


hints: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)
"""A group's class -> the types of its fields."""


def flat(group: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, for every setting in a group; the value of a variant is the name of its kind."""
    leaves: dict[str, Any] = {}
    for entry in dataclasses.fields(group):
        value, key = getattr(group, entry.name), prefix + entry.name
        if is_variant(value):
            leaves[key] = name_of(value)
        leaves |= flat(value, f"{key}.") if is_group(value) else {key: value}
    return leaves


def to_tree(group: Any) -> dict[str, Any]:
    """The settings of a group as dicts inside dicts, for JSON; the dict of a variant has the name of its kind."""
    tree: dict[str, Any] = {KIND: name_of(group)} if is_variant(group) else {}
    for entry in dataclasses.fields(group):
        value = getattr(group, entry.name)
        tree[entry.name] = to_tree(value) if is_group(value) else value
    return tree


def to_dotted(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings of a tree by dotted keys, as `flat` has them; keys of the tree may be dotted already."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        key = prefix.removesuffix(".") if prefix and name == KIND else prefix + name.removesuffix(f".{KIND}")
        leaves |= to_dotted(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return leaves


def uncommon(group: Any, prefix: str = "") -> dict[str, Any]:
    """The settings of `flat` that do not equal their fields' defaults. A setting that a later version adds, with a
    default that means what was done before it, is not among them."""
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
