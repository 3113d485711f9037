"""A run's settings as nested frozen dataclasses, and the one way to override them: `override`."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from gen.phase import ModelConfig, StageOne, TwoStageConfig, at_least, one_of

Config = TypeVar("Config")
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
    mode: Literal["min", "max"] = "min"  # whether small or large is good
    pictures: int = 0  # ticks between stored sample grids; 0: one, of the best weights at the end
    floor: str = ""  # a figure, NAME/SUBJECT, below whose least value weights are the worst there are; "": none
    least: float = 0.0  # that value

    def __post_init__(self) -> None:
        at_least("every", self.every, 1)
        at_least("images", self.images, 2)
        at_least("share", self.share, 0, 1)
        at_least("full_images", self.full_images, 2)
        at_least("importance_images", self.importance_images, 1)
        at_least("importance_samples", self.importance_samples, 1)
        at_least("batch", self.batch, 1)
        at_least("pictures", self.pictures, 0)
        one_of("mode", self.mode, ("min", "max"))

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

    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 1
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
    seed: int = 0
    budget: Budget = field(default_factory=Budget)
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0, MOST_SEED)

    def resolved(self) -> RunConfig:
        """With `train.micro_batches` set, from the number of workers where it is 0. ValueError if workers and
        micro-batches do not fit."""
        count = self.train.micro_batches or self.machine.workers
        if count % self.machine.workers:
            raise ValueError(
                f"train.micro_batches={count} must be a multiple of the number of workers, {self.machine.workers}"
            )
        return dataclasses.replace(self, train=dataclasses.replace(self.train, micro_batches=count))


FREE = ("budget", "machine")  # groups that are no part of a run's identity
FIXED = ("entry", "family")  # chosen by the entry, not overridden


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, for every leaf of a config."""
    leaves: dict[str, Any] = {}
    for entry in dataclasses.fields(config):
        value, key = getattr(config, entry.name), prefix + entry.name
        leaves |= flat(value, f"{key}.") if dataclasses.is_dataclass(value) else {key: value}
    return leaves


def to_json(config: RunConfig) -> str:
    """Lossless: `gen.zoo.restore` gives the config back. Keys are sorted, so equal configs are equal texts."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def on_stage(config: RunConfig, stage_one: StageOne | None) -> RunConfig:
    """`config` on a first stage. ValueError if its model has none."""
    if not isinstance(config.model, TwoStageConfig):
        raise ValueError(f"{config.entry} has no first stage; leave --stage-one out")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, stage_one=stage_one))  # type: ignore[type-var]


def identity(config: RunConfig, data_hash: str) -> str:
    """16 hexadecimal digits that name a run: its settings without budget and machine, which tell its first stage and
    that one's hash too, and its data."""
    settings = {key: value for key, value in flat(config.resolved()).items() if key.split(".")[0] not in FREE}
    text = json.dumps([settings, data_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def override(config: Config, settings: Mapping[str, Any], prefix: str = "") -> Config:
    """`config` with dotted keys replaced: {"model.beta": "4"} or {"model": {"beta": 4.0}}.

    Serves the command line and the tuner alike. Each value is parsed to the type of its field and checked. ValueError
    for an unknown key (names the nearest valid ones), a value of the wrong type, or one out of range.
    """
    groups: dict[str, Any] = {}
    for key, value in settings.items():
        head, _, rest = key.partition(".")
        if head not in {entry.name for entry in dataclasses.fields(config)} or (not prefix and head in FIXED):  # type: ignore[arg-type]
            raise unknown(config, key, prefix)
        current = getattr(config, head)
        if dataclasses.is_dataclass(current):
            if not rest and not isinstance(value, Mapping):
                raise ValueError(f"{prefix}{key} is a group of settings: {', '.join(flat(current, f'{prefix}{key}.'))}")
            groups.setdefault(head, {}).update({rest: value} if rest else value)
        elif rest:
            raise unknown(config, key, prefix)
        else:
            groups[head] = value
    hints = typing.get_type_hints(type(config))
    changes = {}
    for name, value in groups.items():
        current = getattr(config, name)
        if dataclasses.is_dataclass(current):
            changes[name] = override(current, value, f"{prefix}{name}.")
        else:
            changes[name] = parse(value, hints[name], f"{prefix}{name}")
    try:
        return dataclasses.replace(config, **changes)  # type: ignore[type-var]
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from None


def unknown(config: Any, key: str, prefix: str) -> ValueError:
    """The error for a key that no field has, with the nearest valid ones."""
    valid = [name for name in flat(config) if prefix or name not in FIXED]
    leaf = key.rsplit(".", 1)[-1]
    near = [name for name in valid if name.rsplit(".", 1)[-1] == leaf]
    near += [name for name in difflib.get_close_matches(key, valid, n=3, cutoff=0.5) if name not in near]
    near = near or [name for name in valid if name.rsplit(".", 1)[-1] in leaf] or valid  # "rate" for "learning_rate"
    if not near:
        return ValueError(f"unknown setting {prefix}{key}: {prefix.rstrip('.')} of this entry has no settings")
    return ValueError(f"unknown setting {prefix}{key}; nearest valid: {', '.join(prefix + name for name in near[:8])}")


def parse(value: Any, hint: Any, key: str) -> Any:
    """`value`, given as itself or as text, as the type `hint`; ValueError if it is of another type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        one_of(key, value, arguments)
        return value
    if origin in (typing.Union, types.UnionType):
        for choice in arguments:
            try:
                return parse(value, choice, key)
            except ValueError:
                continue
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if isinstance(parts, (list, tuple)):
            return tuple(parse(part, arguments[0], key) for part in parts)
    if hint is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
    elif hint in (int, float) and not isinstance(value, bool):
        try:
            number = hint(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"{key}={value} is out of range; allowed: finite numbers")
        if number is not None and (isinstance(value, str) or number == value):
            return number
    elif hint is str and isinstance(value, str):
        return value
    elif hint is type(None) and str(value).lower() == "none":
        return None
    expected = getattr(hint, "__name__", str(hint))
    raise ValueError(f"{key}={value!r} is of the wrong type; expected {expected}")
