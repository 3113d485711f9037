"""`override`: the one way to change a setting, for the command line and the tuner's sampled dicts alike."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from gen.checks import one_of
from gen.config.tree import RunConfig
from gen.config.variants import flat, hints, is_group, is_variant, kinds_of, name_of, to_dotted
from gen.results.renamed import to_present

Config = TypeVar("Config")
FIXED = ("entry", "family")  # settings that come with the entry: no key changes them


def override(config: Config, settings: Mapping[str, Any], prefix: str = "") -> Config:
    """`config` with changed settings, by dotted keys or as a tree: {"model.beta": "4"} or {"model": {"beta": 4.0}}.

    Each value is parsed to the type of its field and checked. The key of a variant takes the name of a kind; a kind
    that is not in force yet begins with its defaults. ValueError for an unknown key (names the nearest valid ones), a
    field of another kind (names the kinds that have it), a value of the wrong type, or one out of range.
    """
    leaves = to_dotted(settings)
    if isinstance(config, RunConfig):
        leaves = to_present(config.family, leaves)
        if fixed := [key for key in leaves if key.partition(".")[0] in FIXED]:
            raise unknown(config, fixed[0], prefix)
    return _override(config, leaves, prefix)


def _override(config: Config, leaves: Mapping[str, Any], prefix: str) -> Config:
    below: dict[str, dict[str, Any]] = {}  # field -> changes: under "" its own value, under dotted keys those inside it
    for key, value in leaves.items():
        head, _, rest = key.partition(".")
        if head not in {entry.name for entry in dataclasses.fields(config)}:  # type: ignore[arg-type]
            raise unknown(config, key, prefix)
        below.setdefault(head, {})[rest] = value
    changes = {}
    for name, said in below.items():
        current, key = getattr(config, name), f"{prefix}{name}"
        if not is_group(current):
            if wrong := [rest for rest in said if rest]:
                raise unknown(config, f"{name}.{wrong[0]}", prefix)
            changes[name] = parse(said[""], hints(type(config))[name], key)
            continue
        if is_variant(current):
            kinds = kinds_of(config, name)
            kind = said.pop("", name_of(current))
            one_of(key, kind, list(kinds))
            current = current if kind == name_of(current) else kinds[kind]()
            for rest in said:
                check_kind(current, rest, kinds, key)
        elif "" in said:
            raise ValueError(f"{key} is a group of settings: {', '.join(flat(current, f'{key}.'))}")
        changes[name] = _override(current, said, f"{key}.")
    try:
        return dataclasses.replace(config, **changes)  # type: ignore[type-var]
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from None


def check_kind(variant: Any, rest: str, kinds: Mapping[str, type], key: str) -> None:
    """ValueError if `rest`, a dotted key inside the variant at `key`, names a field that only other kinds have."""
    field = rest.partition(".")[0]
    if field in {entry.name for entry in dataclasses.fields(variant)}:
        return
    have = [kind for kind, of in kinds.items() if field in {entry.name for entry in dataclasses.fields(of)}]
    if have:
        raise ValueError(
            f"{key}.{rest} is a setting of {' and '.join(have)}, and {key} is {name_of(variant)}: "
            f"choose a kind that has it, such as {key}={have[0]}"
        )


def unknown(config: Any, key: str, prefix: str) -> ValueError:
    """The error for a key that is no setting; it names the nearest valid keys."""
    valid = [name for name in flat(config) if prefix or name not in FIXED]
    if not valid:
        kind = f"{name_of(config)}, the kind in force, has" if is_variant(config) else "this entry has"
        return ValueError(f"unknown setting {prefix}{key}: {prefix.rstrip('.')} of {kind} no settings")
    return ValueError(f"unknown setting {prefix}{key}; nearest valid: {', '.join(near(key, valid, prefix))}")


def near(key: str, valid: Sequence[str], prefix: str = "") -> list[str]:
    """The valid keys that are nearest to `key`, which is not valid."""
    leaf = key.rsplit(".", 1)[-1]
    found = [name for name in valid if name.rsplit(".", 1)[-1] == leaf]
    found += [name for name in difflib.get_close_matches(key, valid, n=3, cutoff=0.5) if name not in found]
    found = found or [name for name in valid if name.rsplit(".", 1)[-1] in leaf]  # "rate" for "learning_rate"
    return [prefix + name for name in (found or list(valid))[:8]]


def parse(value: Any, hint: Any, key: str) -> Any:
    """`value`, or what it says if it is a text, as a value of the type `hint`. ValueError if it is of another type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        one_of(key, value, arguments)
        return value
    if origin in (typing.Union, types.UnionType):
        for choice in arguments:
            try:
                return parse(value, choice, key)
            except ValueError:
                continue
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if isinstance(parts, (list, tuple)):
            return tuple(parse(part, arguments[0], key) for part in parts)
    if hint is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
    elif hint in (int, float) and not isinstance(value, bool):
        try:
            number = hint(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"{key}={value} is out of range; allowed: finite numbers")
        if number is not None and (isinstance(value, str) or number == value):
            return number
    elif hint is str and isinstance(value, str):
        return value
    elif hint is type(None) and str(value).lower() == "none":
        return None
    expected = getattr(hint, "__name__", str(hint))
    raise ValueError(f"{key}={value!r} is of the wrong type; expected {expected}")
