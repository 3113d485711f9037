"""The identity of a run, which its settings give, and its settings as JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from gen.config.model import StageOne, TwoStageConfig
from gen.config.tree import RunConfig
from gen.config.variants import to_tree, uncommon
from gen.results.renamed import VERSION

FREE = ("budget", "machine", "evaluate.full", "evaluate.leaders")  # settings that are no part of a run's identity
ALWAYS = ("entry", "family")  # parts of every run's identity


def is_free(key: str) -> bool:
    """Whether a setting may change while a run goes on."""
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def essence(config: RunConfig) -> dict[str, Any]:
    """The settings that make a run what it is: those that are not free and do not equal their fields' defaults."""
    leaves = uncommon(config.resolve()) | {key: getattr(config, key) for key in ALWAYS}
    return {key: value for key, value in leaves.items() if not is_free(key)}


def identity(config: RunConfig, data_hash: str) -> str:
    """The name of a run: 16 hexadecimal digits, a hash of its data and its essence, in which its first stage is too.

    A setting that a later version adds changes no name: its default, which means what was done before, is left out."""
    text = json.dumps([essence(config), data_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_json(config: RunConfig) -> str:
    """A config as text, from which `gen.zoo.restore` gives it back. Keys are sorted: equal configs give equal texts."""
    return json.dumps({"version": VERSION, **to_tree(config)}, sort_keys=True)


def on_stage(config: RunConfig, stage_one: StageOne | None) -> RunConfig:
    """`config` with another first stage. ValueError if its model has none."""
    if not isinstance(config.model, TwoStageConfig):
        raise ValueError(f"{config.entry} has no first stage; leave --stage-one out")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, stage_one=stage_one))
