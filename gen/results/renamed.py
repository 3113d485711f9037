"""Settings under the names, and in the form, of earlier versions. So what these recorded stays readable, a search draws
the same values again, and an old command line keeps its meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gen.metrics.table import direction

VERSION = 2  # of a config's JSON; version 1 did not write its number

LIKELIHOOD = {
    "model.likelihood.deviation": "model.likelihood.variance.deviation",
    "model.likelihood.least_deviation": "model.likelihood.variance.least_deviation",
}
KEYS: Mapping[str, Mapping[str, str]] = {  # family of entries -> old key -> new key
    "vae": {f"model.{name}": f"model.networks.{name}" for name in ("width", "depth", "halving")} | LIKELIHOOD,
    "vqvae": {f"model.{name}": f"model.networks.{name}" for name in ("hidden", "residual", "blocks", "width")}
    | LIKELIHOOD,
    "gan": {
        f"model.{name}": f"model.networks.{name}" for name in ("generator_width", "critic_width", "depth", "slope")
    },
}
SPACES = {"gan": {"model.penalty": "model.penalty.weight"}}  # family -> old key of a search space -> new key


def penalty(value: Any) -> dict[str, Any]:
    """The settings for an old weight, of which 0 meant no penalty. A value that is no number stays: it names a kind."""
    try:
        weight = float(value)
    except (TypeError, ValueError):
        return {"model.penalty": value}
    return {"model.penalty": "one_centred", "model.penalty.weight": weight} if weight else {"model.penalty": "none"}


def conditional(value: Any) -> dict[str, Any]:
    """The settings for an old truth value of `model.conditional`."""
    return {"model.conditioning": "one_hot" if str(value).lower() == "true" else "none"}


FORMS: Mapping[str, Mapping[str, Callable[[Any], dict[str, Any]]]] = {  # family -> old key -> value -> new settings
    "vae": {"model.conditional": conditional},
    "gan": {"model.penalty": penalty},
}


def to_present(family: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted keys, each under its present name and in its present form. Present names stay."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        change = FORMS.get(family, {}).get(key)
        found |= change(value) if change else {present_key(family, key): value}
    return found


def present_key(family: str, key: str) -> str:
    """The present name of a setting, from its present name or an old one."""
    return KEYS.get(family, {}).get(key.removesuffix(".kind"), key.removesuffix(".kind"))


def space_key(family: str, key: str) -> str:
    """The present name of a key of a search space."""
    return SPACES.get(family, {}).get(key) or present_key(family, key)


def as_choices(forms: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
    """The key that settings share, and each one's choice for it: a plain value, or a dict of a kind and its fields
    where one of them is several settings."""
    key = min(forms[0], key=len)
    if all(set(form) == {key} for form in forms):
        return key, [form[key] for form in forms]
    return key, [
        {name.removeprefix(key).removeprefix(".") or "kind": value for name, value in form.items()} for form in forms
    ]


def upgrade_space(family: str, space: Mapping[str, Any]) -> dict[str, Any]:
    """The search space of an experiment that version 1 began, as it would be recorded now."""
    found = {}
    for key, domain in space.items():
        if isinstance(domain, list) and key in FORMS.get(family, {}):  # a choice that a user named
            present, domain = as_choices([to_present(family, {key: value}) for value in domain])
        else:
            present = space_key(family, key)
        found[present] = domain
    return found


def first_key(family: str, key: str) -> str:
    """The first name that a key of a search space had: every version seeds the draws of the key by it."""
    old = {new: old for old, new in (*KEYS.get(family, {}).items(), *SPACES.get(family, {}).items())}
    return old.get(key, key)


FIRST_FORM = {  # settings of a likelihood that version 1 recorded whatever its kind, with their defaults
    "likelihood.variance": "pixel",
    "likelihood.deviation": 1.0,
    "likelihood.least_deviation": 0.005,
    "likelihood.tanh": False,
}
KINDS = {"likelihood": "likelihood.kind"}  # key of a variant -> key under which version 1 recorded its kind
UNTOLD = (("networks", "strided"),)  # kinds that version 1 had but did not record
CODEBOOK = ("codes", "decay", "dimensions", "epsilon", "revival", "update", "warm_up")
OPTIMIZER = ("beta1", "beta2", "decay", "decay_end", "decay_factor", "decay_start", "rate", "weight_decay")
FIRST_KEYS = {  # all settings of a VQ-VAE that version 1 recorded, below "model.", under their first names
    *("beta", "blocks", "hidden", "residual", "width", "likelihood.kind", *FIRST_FORM),
    *(f"codebook.{name}" for name in CODEBOOK),
    *(f"optimizer.{name}" for name in OPTIMIZER),
}


def first_form(settings: Mapping[str, Any], uncommon: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a VQ-VAE, by dotted keys without "model.", as version 1 recorded them. The hash of a first stage
    is made of these, so that a prior finds its first stage in every version. A setting that a later version added is
    among them only if it does not equal its default: `uncommon` holds all settings that do not."""
    old = {new.removeprefix("model."): old.removeprefix("model.") for old, new in KEYS["vqvae"].items()}
    renamed = {KINDS.get(key, old.get(key, key)): (key, value) for key, value in settings.items()}
    known = {name: value for name, (_, value) in renamed.items() if name in FIRST_KEYS}
    later = {
        key: value
        for name, (key, value) in renamed.items()
        if name not in FIRST_KEYS and key in uncommon and (key, value) not in UNTOLD
    }
    return {**FIRST_FORM, **known, **later}


def upgrade(family: str, settings: Mapping[str, Any], version: int) -> dict[str, Any]:
    """The settings of a run in their present form: all of `settings`, by dotted keys, which that version recorded.

    Version 1 recorded the settings of every likelihood, whichever was in force, and a direction beside every metric.
    """
    found = to_present(family, settings)
    if version > 1:
        return found
    kind, variance = found.get("model.likelihood"), found.get("model.likelihood.variance")
    if kind is not None:
        below = "model.likelihood."
        idle = f"{below}variance.{'least_deviation' if variance == 'fixed' else 'deviation'}"
        found = {
            key: value
            for key, value in found.items()
            if not key.startswith(below) or (kind == "gaussian" and key != idle)
        }
    metric = found.get("evaluate.metric", "")
    if found.get("evaluate.mode") == (direction(metric) if metric else "min"):
        found["evaluate.mode"] = ""
    return found
