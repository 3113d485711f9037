"""The kinds of optimisers, and how their learning rate falls."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from gen.checks import at_least, below_one

Decay = Literal["constant", "linear", "cosine", "exponential"]


@dataclass(frozen=True)
class Optimizer(ABC):
    """What all optimisers share. The learning rate depends on the absolute epoch and not on the budget, so a run whose
    budget grows goes on as if it had always been that long."""

    kinds: ClassVar[Mapping[str, type[Optimizer]]]

    rate: float = 1e-3  # learning rate
    decay: Decay = "constant"  # how the rate falls between decay_start and decay_end
    decay_start: float = 0.0  # epoch
    decay_end: float = 0.0  # epoch from which the rate is rate * decay_factor
    decay_factor: float = 0.0  # the last rate as a share of the first

    def __post_init__(self) -> None:
        at_least("rate", self.rate, 0.0)
        if self.decay != "constant" and self.decay_end <= self.decay_start:
            raise ValueError(
                f"decay_end={self.decay_end} must exceed decay_start={self.decay_start} when decay={self.decay!r}"
            )
        if self.decay == "exponential" and self.decay_factor <= 0:
            raise ValueError(f"decay_factor={self.decay_factor} must be positive when decay='exponential'")

    def rate_at(self, epoch: float) -> float:
        """Learning rate at an absolute epoch (a real number)."""
        if self.decay == "constant":
            return self.rate
        done = min(max((epoch - self.decay_start) / (self.decay_end - self.decay_start), 0.0), 1.0)
        if self.decay == "linear":
            share = 1 - done * (1 - self.decay_factor)
        elif self.decay == "cosine":
            share = self.decay_factor + (1 - self.decay_factor) * (1 + math.cos(math.pi * done)) / 2
        else:
            share = self.decay_factor**done
        return self.rate * share

    @abstractmethod
    def build(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """The optimiser over `parameters`."""


@dataclass(frozen=True)
class Adam(Optimizer):
    """Kingma and Ba 2014, https://arxiv.org/abs/1412.6980."""

    beta1: float = 0.9  # weight of the past in the running mean of gradients (0.9)
    beta2: float = 0.999  # weight of the past in the running mean of squared gradients (0.999)
    weight_decay: float = 0.0  # this times each weight is added to its gradient

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("beta1", self.beta1)
        below_one("beta2", self.beta2)
        at_least("weight_decay", self.weight_decay, 0)

    def build(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            list(parameters), self.rate, (self.beta1, self.beta2), weight_decay=self.weight_decay, fused=True
        )


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Hinton's lecture 6e; the optimiser of the first Wasserstein GAN."""

    smoothing: float = 0.99  # weight of the past in the running mean of squared gradients
    momentum: float = 0.0  # share of the last step in the next
    weight_decay: float = 0.0  # this times each weight is added to its gradient

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("smoothing", self.smoothing)
        below_one("momentum", self.momentum)
        at_least("weight_decay", self.weight_decay, 0)

    def build(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(
            list(parameters), self.rate, self.smoothing, weight_decay=self.weight_decay, momentum=self.momentum
        )


Optimizer.kinds = {"adam": Adam, "rmsprop": RMSprop}
