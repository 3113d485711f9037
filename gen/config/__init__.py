"""The settings of a run: their tree, the one way to change them, and the identity that they give the run."""

from gen.config.identity import FREE, essence, identity, is_free, on_stage, to_json
from gen.config.model import ModelConfig, StageOne, TwoStageConfig
from gen.config.override import Config, override
from gen.config.tree import (
    AugmentConfig,
    Budget,
    DataConfig,
    EvaluateConfig,
    Machine,
    RunConfig,
    TrainConfig,
    WatchConfig,
)
from gen.config.variants import flat, is_variant, name_of, to_dotted, to_tree

__all__ = [
    "FREE",
    "AugmentConfig",
    "Budget",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "Machine",
    "ModelConfig",
    "RunConfig",
    "StageOne",
    "TrainConfig",
    "TwoStageConfig",
    "WatchConfig",
    "essence",
    "flat",
    "identity",
    "is_free",
    "is_variant",
    "name_of",
    "on_stage",
    "override",
    "to_dotted",
    "to_json",
    "to_tree",
]
