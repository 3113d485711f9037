"""Settings that came after runs were on record, with what these had done without: each new setting's default."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pandas as pd

ADDED: Mapping[str, bool | float | str] = {  # dotted key -> default
    "data.augment.flip": False,
    "data.augment.margin": 0.0,
    "data.background": "white",
    "data.fit": "crop",
    "data.images": 0,
    "data.stratified": False,
    "data.white": 0.0,
    "evaluate.also": "",
    "model.augmentation.flip": False,
    "model.augmentation.noise": 0.0,
    "model.augmentation.noise_moves": 10000,
    "model.augmentation.translation": 0.0,
    "model.conditioning": "none",
    "model.networks.critic_norm": "none",
    "model.networks.generator_norm": "none",
    "model.networks.generator_slope": 0.0,
    "model.objective.smoothing": 0.0,
    "model.together": False,
    "model.walk": "linear",
    "watch.distance": 0.1,
    "watch.exploding": 100.0,
    "watch.images": 256,
    "watch.margin": 0.02,
    "watch.recall": 0.0,
    "watch.stop": False,
    "watch.ticks": 3,
    "watch.vanishing": 1e-6,
    "watch.variance": 0.1,
}


def complete(told: pd.DataFrame) -> pd.DataFrame:
    """Wide settings in which runs that lack a later setting have its default, where other runs of the frame have it: a
    configuration that an earlier version began is the one with which the present version goes on."""
    found = {}
    for key in ADDED.keys() & set(told.columns):
        if told[key].isna().any() and told[key].notna().any():
            value, texts = ADDED[key], pd.api.types.is_string_dtype(told[key].dtype)
            found[key] = told[key].fillna(json.dumps(value) if texts and not isinstance(value, str) else value)
    return told.assign(**found) if found else told
