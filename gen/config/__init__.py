"""A run's settings: their tree, the one way to override them, and what a run is known by."""

from gen.config.run import (
    FREE,
    Budget,
    Config,
    DataConfig,
    EvaluateConfig,
    Machine,
    RunConfig,
    TrainConfig,
    flat,
    identity,
    on_stage,
    override,
    to_json,
)

__all__ = [
    "FREE",
    "Budget",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "Machine",
    "RunConfig",
    "TrainConfig",
    "flat",
    "identity",
    "on_stage",
    "override",
    "to_json",
]
