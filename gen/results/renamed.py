"""Settings under the names and in the form that earlier versions gave them: what was recorded stays readable, a search
draws what it drew, and a command line of then means the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gen.metrics.table import direction

VERSION = 2  # of a config's JSON; 1 said none

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
SPACES = {
    "gan": {"model.penalty": "model.penalty.weight"}
}  # keys of search spaces, where a setting has another form now


def penalty(value: Any) -> dict[str, Any]:
    """A weight, where 0 was no penalty; as it is if it is no number."""
    try:
        weight = float(value)
    except (TypeError, ValueError):
        return {"model.penalty": value}
    return {"model.penalty": "one_centred", "model.penalty.weight": weight} if weight else {"model.penalty": "none"}


def conditional(value: Any) -> dict[str, Any]:
    """A truth value."""
    return {"model.conditioning": "one_hot" if str(value).lower() == "true" else "none"}


FORMS: Mapping[str, Mapping[str, Callable[[Any], dict[str, Any]]]] = {  # family -> old key -> value -> new settings
    "vae": {"model.conditional": conditional},
    "gan": {"model.penalty": penalty},
}


def to_present(family: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted keys, each under its present name and in its present form; names of today stay."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        change = FORMS.get(family, {}).get(key)
        found |= change(value) if change else {present_key(family, key): value}
    return found


def present_key(family: str, key: str) -> str:
    """A setting's present name."""
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
    """The name that a key of a search space had first: what its draws are seeded by, in every version."""
    old = {new: old for old, new in (*KEYS.get(family, {}).items(), *SPACES.get(family, {}).items())}
    return old.get(key, key)


FIRST_FORM = {  # settings that version 1 recorded of a likelihood of every kind, with their defaults
    "likelihood.variance": "pixel",
    "likelihood.deviation": 1.0,
    "likelihood.least_deviation": 0.005,
    "likelihood.tanh": False,
}
KINDS = {"likelihood": "likelihood.kind"}  # a variant whose kind version 1 told -> how
UNTOLD = (("networks", "strided"),)  # kinds that version 1 had and did not tell
CODEBOOK = ("codes", "decay", "dimensions", "epsilon", "revival", "update", "warm_up")
OPTIMIZER = ("beta1", "beta2", "decay", "decay_end", "decay_factor", "decay_start", "rate", "weight_decay")
FIRST_KEYS = {  # all settings of a VQ-VAE that version 1 recorded, below "model.", under their first names
    *("beta", "blocks", "hidden", "residual", "width", "likelihood.kind", *FIRST_FORM),
    *(f"codebook.{name}" for name in CODEBOOK),
    *(f"optimizer.{name}" for name in OPTIMIZER),
}


def first_form(settings: Mapping[str, Any], uncommon: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a VQ-VAE, by dotted keys below "model.", as version 1 recorded them: first stages are known by
    these, so that a prior finds its own in every version. Settings that came later are among them where they do not
    equal their defaults: `uncommon` holds all settings that do not."""
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
    """All settings of a run by dotted keys, as that version recorded them, in their present form.

    Version 1 recorded every likelihood's settings whichever was in force, and a direction beside every metric.
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
