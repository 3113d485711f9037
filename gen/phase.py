"""The contract between models and the engine: what varies between generative models is *which parameters move, to
lower which number, how often*. That is a value, a `Phase`; the engine alone differentiates, synchronises and steps."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Batch = Mapping[str, Tensor]
"""Named columns: "image" (B, C, H, W) in [-1, 1], "label" (B,), "unlabelled", "a", "b", "codes"; and from the engine
"micro_batch" (2,): the global index of this micro-batch within the draw, and how many there are."""

Logs = dict[str, Tensor]
"""Scalars on the device; the engine detaches and averages them. The names are the same at every call."""


@dataclass(frozen=True)
class Shape:
    """What a network must know of its data set."""

    channels: int
    size: int  # height and width in pixels
    classes: int = 0  # 0: no labels

    @property
    def pixels(self) -> int:
        """Numbers in one image: channels x height x width."""
        return self.channels * self.size * self.size


Decay = Literal["constant", "linear", "cosine", "exponential"]


@dataclass(frozen=True)
class Optimizer(ABC):
    """What all optimisers share. The rate falls by absolute epochs, so a budget that grows changes nothing before."""

    rate: float = 1e-3  # learning rate
    decay: Decay = "constant"  # how the rate falls between the two epochs below
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

    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0

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

    smoothing: float = 0.99
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("smoothing", self.smoothing)
        below_one("momentum", self.momentum)
        at_least("weight_decay", self.weight_decay, 0)

    def build(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(
            list(parameters), self.rate, self.smoothing, weight_decay=self.weight_decay, momentum=self.momentum
        )


def nothing() -> None:
    """The projection of a phase that has none."""


@dataclass(frozen=True)
class Phase:
    """One player's move: lower `loss` by changing only the parameters of `player`."""

    name: str  # prefix in the results: "critic/penalty"
    player: nn.Module  # a network, or a ModuleList of those that move together
    loss: Callable[[Batch], tuple[Tensor, Logs]]
    optimizer: Optimizer
    repeats: int = 1  # moves a step, each on a fresh draw: n_critic
    sums: Sequence[Tensor] = ()  # buffers that `loss` adds to; the engine totals them over workers, then ...
    project: Callable[[], None] = nothing  # ... calls this after the optimiser's step: EMA codebook, weight clipping


class Model(nn.Module, ABC):
    """Networks and the phases that train them. It never sees the engine, files or devices."""

    needs: frozenset[str] = frozenset({"image"})  # columns without which it cannot train
    columns: Sequence[str] = ("image",)  # of images that it makes, as fakes or as reconstructions
    unmoved: Mapping[str, str] = {}  # parameter name -> the reason why its gradient is zero

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """The players' moves, in order. Called once; the values are kept."""

    def prepare(self, batch: Batch) -> Batch:
        """Columns made once a draw, without gradient (latents, fakes, codes). As it stands: none."""
        return batch

    def learned(self) -> int:
        """Numbers that training sets: the parameters, and buffers that `project` learns in their place."""
        return sum(parameter.numel() for parameter in self.parameters())


class ModelConfig(Protocol):
    """A frozen dataclass that builds a model: every value of the zoo holds one."""

    def build(self, shape: Shape) -> Model:
        """The model for images of `shape`, freshly initialised from torch's global generator."""
        ...


@dataclass(frozen=True)
class StageOne:
    """Which trained model stands frozen inside a model of two stages: a setting, so a checkpoint restores it."""

    experiment: str
    run: str
    entry: str
    hash: str  # of its settings and weights
    data_hash: str  # of the images that it was trained on
    model: ModelConfig


@runtime_checkable
class TwoStageConfig(ModelConfig, Protocol):
    """Builds a model on a first stage, which `--stage-one` names."""

    stage_one: StageOne | None


@runtime_checkable
class TwoStage(Protocol):
    """Holds a first stage, frozen; the engine gives it its trained weights before the first step."""

    first: Model


@runtime_checkable
class Imitates(Protocol):
    """Makes images of its own."""

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        """Fakes (B, C, H, W) in [-1, 1] for every column that the model imitates, as many as `batch` has rows."""
        ...


@runtime_checkable
class Conditional(Imitates, Protocol):
    """Imitates images of the class that the batch's "label" names, 0 <= label < classes."""

    classes: int


@runtime_checkable
class Translates(Imitates, Protocol):
    """Imitates by turning each image of one column into one of another: a fake for each source, and no more."""

    sources: Mapping[str, str]  # column of the fakes -> column of the images that they are made from


@runtime_checkable
class Reconstructs(Protocol):
    """Maps an image to itself through a bottleneck."""

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        """Reconstructions (B, C, H, W) in [-1, 1] for every column that the model reconstructs."""
        ...


@runtime_checkable
class Likelihood(Protocol):
    """Bounds the log-likelihood of images."""

    def bound_terms(self, batch: Batch) -> dict[str, Tensor]:
        """Per image (B,), in nats: "distortion" (negative log-likelihood of the decoder) and "rate" (KL term), at the
        model's unweighted evidence bound: their sum is the negative ELBO whatever beta trained it."""
        ...


@runtime_checkable
class ImportanceWeighted(Protocol):
    """A latent variable model whose marginal likelihood can be estimated by importance sampling."""

    density: str  # name of the likelihood, for "bernoulli" on grey values is not a density and bits do not compare

    def log_weights(self, batch: Batch) -> Tensor:
        """log p(x|z) + log p(z) - log q(z|x) (B,), in nats, at one z ~ q(z|x) an image, on the scale [-1, 1] of x."""
        ...


@runtime_checkable
class Interpolates(Protocol):
    """Has latents between which a straight line makes sense."""

    def interpolate(self, batch: Batch, steps: int) -> Tensor:
        """Images (P, steps, C, H, W) in [-1, 1] along the lines between the latents of rows 2 i and 2 i + 1 of `batch`,
        P = B // 2; a model without an encoder draws the latents."""
        ...


@runtime_checkable
class Decodes(Protocol):
    """Turns latents of a standard normal prior into images."""

    latent_size: int

    def decode_latents(self, latents: Tensor, batch: Batch) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] of latents (B, Z); `batch` holds what they are conditioned on, if anything."""
        ...


@runtime_checkable
class PredictsCodes(Protocol):
    """Has a likelihood of an image's codes."""

    def code_nats(self, batch: Batch) -> Tensor:
        """-log p(codes) / number of codes (B,), in nats a code."""
        ...


@runtime_checkable
class Encodes(Protocol):
    """Maps images to a diagonal Gaussian over latents."""

    latent_size: int

    def latent_posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of q(z|x)."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """Tells the classes of images."""

    def classify(self, batch: Batch) -> Tensor:
        """Logits (B, classes)."""
        ...


@runtime_checkable
class Fits(Protocol):
    """Has parts that are computed in closed form, before the first step, and live in buffers."""

    def fit(self, draw: Callable[[int], Batch]) -> None:
        """Sets the buffers from `draw(0)`, `draw(1)`, ...: batches of training images, the same on every worker."""
        ...


@runtime_checkable
class Quantises(Protocol):
    """Maps an image to codes of a finite codebook."""

    codebook_size: int

    def codes(self, batch: Batch) -> Tensor:
        """Indices of codes, (B, ...), int64 in [0, codebook_size)."""
        ...


@runtime_checkable
class Embeds(Quantises, Protocol):
    """Quantises by vectors: code k stands for row k of a table."""

    def code_vectors(self) -> Tensor:
        """The codebook (K, D)."""
        ...


def at_least(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raises ValueError unless low <= value <= high: the one wording for settings out of range."""
    if not low <= value <= high:
        allowed = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise ValueError(f"{name}={value:g} is out of range; allowed: {allowed}")


def below_one(name: str, value: float) -> None:
    """Raises ValueError unless 0 <= value < 1: the weight of the past in a running mean."""
    if not 0 <= value < 1:
        raise ValueError(f"{name}={value:g} is out of range; allowed: from 0 to below 1")


def one_of(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raises ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not known; allowed: {', '.join(map(str, allowed))}")
