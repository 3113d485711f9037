"""The tree of a run's settings: nested frozen dataclasses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from gen.checks import at_least, one_of
from gen.config.model import ModelConfig

MOST_IMAGES = 2**20  # of a micro-batch, and micro-batches of a step: more is a slip of the finger
MOST_SEED = 2**63 - 1  # what a column of the tables holds


@dataclass(frozen=True)
class DataConfig:
    """Which images."""

    name: str = "digits"  # a source's name, or images:PATH, unpaired:PATH
    size: int = 0  # pixels a side after a centre crop to a square and resizing; 0: as the source has them
    filter: Literal["bilinear", "bicubic", "lanczos", "box"] = "bilinear"  # of resizing; all are antialiased
    skip_bad: bool = False  # leave images out that cannot be read; else they are an error
    validation: float = 0.1  # share of the training images held out to select and stop by, and as many for a test
    labels: int = 0  # training images that keep their labels, balanced over the classes; 0: all
    label_seed: int = 0  # which ones

    def __post_init__(self) -> None:
        at_least("size", self.size, 0, 1024)
        one_of("filter", self.filter, ("bilinear", "bicubic", "lanczos", "box"))
        at_least("validation", self.validation, 0.01, 0.45)
        at_least("labels", self.labels, 0)
        at_least("label_seed", self.label_seed, 0)


@dataclass(frozen=True)
class TrainConfig:
    """How the players' moves are made."""

    batch: int = 64  # images a micro-batch
    micro_batches: int = 0  # micro-batches a step, over all workers; 0: one a worker
    precision: Literal["float32", "bf16", "float64"] = "float32"  # bf16: autocast, parameters stay float32
    clip: float = 0.0  # largest norm of a player's gradient; 0: not clipped
    ema: float = 0.0  # decay a step of the averaged weights that are evaluated; 0: the raw weights are
    ema_batches: int = 16  # batches over which the averaged weights' BatchNorm statistics are recomputed
    sync_batchnorm: bool = False  # BatchNorm statistics over all workers (GPUs only)

    def __post_init__(self) -> None:
        at_least("batch", self.batch, 1, MOST_IMAGES)
        at_least("micro_batches", self.micro_batches, 0, MOST_IMAGES)
        one_of("precision", self.precision, ("float32", "bf16", "float64"))
        at_least("clip", self.clip, 0)
        at_least("ema", self.ema, 0, 1)
        at_least("ema_batches", self.ema_batches, 1)


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured at each tick, cheaply, and of the best weights at the end, in full."""

    every: int = 1  # epochs a tick
    images: int = 1_000  # most images of a tick's evaluation ...
    share: float = 0.125  # ... and most as a share of those that a tick trains on: a count bounds its time, no clock
    full_images: int = 10_000  # images of the full protocol
    importance_images: int = 1_000  # images of the importance-weighted bound, ...
    importance_samples: int = 20  # ... and samples of each (Burda et al. 2016: 5,000)
    batch: int = 500  # images an evaluation step
    features: str = ""  # inception, classifier, rotation, or a data set whose classifier serves; "": the set's own
    metric: str = ""  # what selects the best weights, as NAME/SUBJECT; "": the model's own
    mode: Literal["", "min", "max"] = ""  # whether small or large is good, said once more: an error where it is wrong
    pictures: int = 0  # ticks between stored sample grids; 0: one, of the best weights at the end
    floor: str = ""  # a figure, NAME/SUBJECT, that weights must reach, or they rank last, as where codes collapse
    least: float = 0.0  # the value of the floor that they must reach
    full: Literal["all", "leaders", "none"] = "all"  # which ended runs get the full protocol (jobs.tune: leaders) ...
    leaders: int = 10  # ... and how many of a search's best those are, when it ends or pauses

    def __post_init__(self) -> None:
        at_least("every", self.every, 1)
        at_least("images", self.images, 2)
        at_least("share", self.share, 0, 1)
        at_least("full_images", self.full_images, 2)
        at_least("importance_images", self.importance_images, 1)
        at_least("importance_samples", self.importance_samples, 1)
        at_least("batch", self.batch, 1)
        at_least("pictures", self.pictures, 0)
        one_of("mode", self.mode, ("", "min", "max"))
        one_of("full", self.full, ("all", "leaders", "none"))
        at_least("leaders", self.leaders, 1)

    def tick_images(self, length: int) -> int:
        """Images of a tick's evaluation where an epoch has `length`: the same for all runs on a data set."""
        return max(2, min(self.images, int(self.share * length * self.every)))


@dataclass(frozen=True)
class Budget:
    """How long. Not part of a run's identity: it may grow, and the run goes on."""

    epochs: int = 10  # passes over the training images, counting every image drawn
    patience: int = 0  # epochs without a better value after which the run stops; 0: never
    checkpoint_seconds: float = 30.0  # least time between two checkpoints; 0: one every tick

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_least("patience", self.patience, 0)
        at_least("checkpoint_seconds", self.checkpoint_seconds, 0)


@dataclass(frozen=True)
class Machine:
    """Where. Not part of a run's identity, but recorded: sums depend on the number of threads."""

    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU where there is one
    workers: int = 1  # processes that train a run together
    threads: int = 1  # CPU threads a worker; its CPUs on the cluster
    inception_weights: str = ""  # file of Inception's weights on each host; "": torch hub's cache or the download

    def __post_init__(self) -> None:
        one_of("device", self.device, ("auto", "cpu", "cuda"))
        at_least("workers", self.workers, 1)
        at_least("threads", self.threads, 1)


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run is, storage and name apart."""

    entry: str
    family: str  # entries whose search space and metrics are shared
    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    seed: int = 0  # of weights, noise and the order of images
    budget: Budget = field(default_factory=Budget)
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0, MOST_SEED)

    def resolve(self) -> RunConfig:
        """With `train.micro_batches` set, from the number of workers where it is 0. ValueError if workers and
        micro-batches do not fit."""
        count = self.train.micro_batches or self.machine.workers
        if count % self.machine.workers:
            raise ValueError(
                f"train.micro_batches={count} must be a multiple of the number of workers, {self.machine.workers}"
            )
        return dataclasses.replace(self, train=dataclasses.replace(self.train, micro_batches=count))
