"""The tree of a run's settings: frozen dataclasses, one inside the other."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from gen.checks import at_least, below_one, one_of
from gen.config.model import ModelConfig

MOST_IMAGES = 2**20  # in a micro-batch, and micro-batches in a step: a larger number is a typing error
MOST_SEED = 2**63 - 1  # the largest number that the column "seed" of the tables can hold


@dataclass(frozen=True)
class AugmentConfig:
    """What training does to each image that it draws. Images to measure or to show are left as they are."""

    flip: bool = False  # each image with a chance of one half as in a mirror (CycleGAN: True)
    margin: float = 0.0  # share of a side by which an image is enlarged, then cropped at random (CycleGAN: 30 / 256)

    def __post_init__(self) -> None:
        at_least("margin", self.margin, 0, 3)

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return self.flip or self.margin > 0


@dataclass(frozen=True)
class DataConfig:
    """Which images a run trains on."""

    name: str = "digits"  # a source's name, or images:PATH, unpaired:PATH
    size: int = 0  # pixels a side after a crop to a square (see fit) and resizing; 0: as the source has them
    filter: Literal["bilinear", "bicubic", "lanczos", "box"] = "bilinear"  # of resizing; all filters are antialiased
    fit: Literal["crop", "pad", "stretch"] = "crop"  # how images that are not square become so; needs a size
    background: Literal["white", "grey", "black"] = "white"  # behind transparent pixels, and beside padded images
    white: float = 0.0  # value that is white, of pixels deeper than 8 bits; 0: the largest of as few bits as hold all
    skip_bad: bool = False  # leave images out that cannot be read; else they are an error
    validation: float = 0.1  # share of the training images held out to select and stop by; as many for a missing test
    stratified: bool = False  # those images are a share of each class; the jobs begin experiments so (FROM_NOW)
    images: int = 0  # training images, balanced over the classes, of which fewer than there are are used; 0: all
    labels: int = 0  # training images that keep their labels, balanced over the classes; 0: all
    label_seed: int = 0  # chooses which images keep their labels
    augment: AugmentConfig = field(default_factory=AugmentConfig)  # of training images

    def __post_init__(self) -> None:
        at_least("size", self.size, 0, 1024)
        one_of("filter", self.filter, ("bilinear", "bicubic", "lanczos", "box"))
        one_of("fit", self.fit, ("crop", "pad", "stretch"))
        one_of("background", self.background, ("white", "grey", "black"))
        at_least("white", self.white, 0, 2**53)
        at_least("validation", self.validation, 0.01, 0.45)
        at_least("images", self.images, 0)
        at_least("labels", self.labels, 0)
        at_least("label_seed", self.label_seed, 0)


@dataclass(frozen=True)
class TrainConfig:
    """How a step trains the players."""

    batch: int = 64  # images a micro-batch
    micro_batches: int = 0  # micro-batches a step, over all workers; 0: one a worker
    precision: Literal["float32", "bf16", "float64"] = "float32"  # bf16: autocast, parameters stay float32
    clip: float = 0.0  # largest norm of a player's gradient; 0: not clipped
    ema: float = 0.0  # decay a step of the weights' running mean, which is then evaluated; 0: no mean, raw weights
    ema_batches: int = 16  # batches over which the averaged weights' BatchNorm statistics are recomputed
    sync_batchnorm: bool = False  # BatchNorm statistics over all workers (GPUs only)

    def __post_init__(self) -> None:
        at_least("batch", self.batch, 1, MOST_IMAGES)
        at_least("micro_batches", self.micro_batches, 0, MOST_IMAGES)
        one_of("precision", self.precision, ("float32", "bf16", "float64"))
        at_least("clip", self.clip, 0)
        below_one("ema", self.ema)  # with 1 the mean would stay what the weights were at the start
        at_least("ema_batches", self.ema_batches, 1)


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured: cheap figures at each tick, and the full protocol on the best weights at the end."""

    every: int = 1  # epochs a tick
    images: int = 1_000  # most images of a tick's evaluation ...
    share: float = 0.125  # ... and most as a share of the images that a tick trains on, so that evaluation stays cheap
    full_images: int = 10_000  # images of the full protocol
    importance_images: int = 1_000  # images of the importance-weighted bound, ...
    importance_samples: int = 20  # ... and samples of each (Burda et al. 2016: 5,000)
    batch: int = 500  # images an evaluation step
    features: str = ""  # inception, classifier, rotation, or a data set whose classifier is used; "": the set's own
    metric: str = ""  # figure that selects the best weights, NAME/SUBJECT; "": the first of the model
    also: str = ""  # more figures that each tick measures, NAME/SUBJECT,NAME/SUBJECT; "": none
    mode: Literal["", "min", "max"] = ""  # direction of the metric, said again; an error if it contradicts the metric
    pictures: int = 0  # ticks between sample grids; 0: those of the best weights, and of a game's first and last
    floor: str = ""  # figure, NAME/SUBJECT: weights that have less of it than `least` rank last; "": none
    least: float = 0.0  # least value of the figure that `floor` names: below it codes, say, have collapsed
    full: Literal["all", "leaders", "none"] = "all"  # runs that get the full protocol (jobs.tune: leaders)
    leaders: int = 10  # so many runs of the best configurations of a search get it, when it ends or pauses

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
        """Images that a tick measures where an epoch has `length` images: the same for all runs on a data set."""
        return max(2, min(self.images, int(self.share * length * self.every)))


@dataclass(frozen=True)
class WatchConfig:
    """When a game of players has collapsed. Each sign of it must last for some ticks, and each can be switched off."""

    images: int = 256  # validation images, and fakes, that each tick looks at
    ticks: int = 3  # ticks in a row at which a sign must be seen
    margin: float = 0.02  # the critic wins: its loss above the least, as a share of an ignorant critic's; 0: off
    vanishing: float = 1e-6  # norm at which the gradient of a player, or of its first layer, has vanished; 0: off
    exploding: float = 100.0  # norm at which the gradient of a player explodes; 0: off
    variance: float = 0.1  # of all pixels of the fakes, which are blank at this share of its highest so far; 0: off
    distance: float = 0.1  # mean, of two fakes, which are alike at this share of its highest so far; 0: off
    recall: float = 0.0  # at which the fakes miss most images; each tick measures it then; 0: off
    stop: bool = False  # a run ends when it has collapsed

    def __post_init__(self) -> None:
        at_least("images", self.images, 2, 4096)
        at_least("ticks", self.ticks, 1)
        at_least("margin", self.margin, 0, 1)
        at_least("vanishing", self.vanishing, 0)
        at_least("exploding", self.exploding, 0)
        at_least("variance", self.variance, 0, 1)
        at_least("distance", self.distance, 0, 1)
        at_least("recall", self.recall, 0, 1)


@dataclass(frozen=True)
class Budget:
    """How long a run trains. This is no part of a run's identity: a budget may grow, and the run goes on."""

    epochs: int = 10  # passes over the training images, counting every image drawn
    patience: int = 0  # epochs without a better value after which the run stops; 0: never
    checkpoint_seconds: float = 30.0  # least time between two checkpoints; 0: one every tick

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_least("patience", self.patience, 0)
        at_least("checkpoint_seconds", self.checkpoint_seconds, 0)


@dataclass(frozen=True)
class Machine:
    """Where a run trains. This is no part of a run's identity, but it is recorded: sums depend on the threads."""

    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU where there is one
    workers: int = 1  # processes that train a run together
    threads: int = 1  # CPU threads of a worker, and CPUs that Ray sets aside for it
    inception_weights: str = ""  # file of Inception's weights on each host; "": torch hub's cache or the download

    def __post_init__(self) -> None:
        one_of("device", self.device, ("auto", "cpu", "cuda"))
        at_least("workers", self.workers, 1)
        at_least("threads", self.threads, 1)


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run. Where it is stored, and the name of its experiment, are no settings."""

    entry: str
    family: str  # of entries that share a search space and metrics
    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)  # of models that play
    seed: int = 0  # of weights, noise and the order of images
    budget: Budget = field(default_factory=Budget)
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0, MOST_SEED)

    def resolve(self) -> RunConfig:
        """The config with `train.micro_batches` filled in: one a worker, where it is 0. ValueError if it is no multiple
        of the number of workers."""
        count = self.train.micro_batches or self.machine.workers
        if count % self.machine.workers:
            raise ValueError(
                f"train.micro_batches={count} must be a multiple of the number of workers, {self.machine.workers}"
            )
        return dataclasses.replace(self, train=dataclasses.replace(self.train, micro_batches=count))
