"""What a model's settings must be: a value that builds the model, for models of one stage and of two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from gen.phase import Model, Shape


class ModelConfig(Protocol):
    """A frozen dataclass that builds a model: every value of the zoo holds one."""

    def build(self, shape: Shape) -> Model:
        """The model for images of `shape`, freshly initialised from torch's global generator."""
        ...


@dataclass(frozen=True)
class StageOne:
    """The trained model that stands frozen inside a model of two stages: a setting, so that checkpoints tell it."""

    experiment: str
    run: str
    entry: str
    hash: str  # of its settings and weights
    data_hash: str  # of the images that it was trained on
    model: ModelConfig


@dataclass(frozen=True)
class TwoStageConfig(ABC):
    """Settings of a model on a first stage."""

    stage_one: StageOne | None = None  # from --stage-one

    @abstractmethod
    def build(self, shape: Shape) -> Model:
        """The model, as `ModelConfig.build` gives it. ValueError if `stage_one` is None."""
