"""A run's model, and the figure that selects its best weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from gen.capabilities import Fits, Plays, TwoStage, has
from gen.config import AugmentConfig, RunConfig, TrainConfig, TwoStageConfig
from gen.data.dataset import Dataset, check_needs
from gen.distributed.machine import memory, seed
from gen.engine.collapse import RECALL
from gen.engine.freeze import BATCH_NORMS
from gen.judge import Judge
from gen.judge.judge import MEASURES
from gen.metrics.table import direction
from gen.phase import Model, Shape
from gen.results.room import in_words
from gen.results.storage import one_line

TRAINED = 4  # numbers that training keeps of each parameter: itself, its gradient, and the means of both of Adam

# functions that draw the numbers of a tensor, in place
DRAWS = {torch.Tensor.normal_, torch.Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_}


def build_model(config: RunConfig, dataset: Dataset, device: torch.device) -> Model:
    """The run's model, initialised from its seed; the same on every worker. ValueError if the data lacks a column that
    the model needs, if nobody would call the model's `fit`, if BatchNorm would see single images, or if augmentation
    would change nothing."""
    seed(torch.device("cpu"), config.seed)
    model = config.model.build(dataset.shape)
    check_needs(model.needs, dataset)
    check_fit(model)
    check_batch(config.train, model)
    check_augment(config.data.augment, dataset, model)
    if config.train.precision == "float64":
        model = model.double()
    return model.to(device)


class Undrawn(TorchFunctionMode):
    """A mode of torch in which functions that draw a tensor's numbers leave the tensor as it is. On the meta device,
    which has no numbers, those draws took most of the time of an outline."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in DRAWS:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


def outline(config: RunConfig, shape: Shape) -> Model | None:
    """The run's model without its numbers, which takes no memory. None for a model of two stages, whose building runs
    its first stage. ValueError for sizes that no tensor can have."""
    if isinstance(config.model, TwoStageConfig):
        return None
    try:
        with torch.device("meta"), Undrawn():
            return config.model.build(shape)
    except (RuntimeError, OverflowError) as error:
        raise ValueError(
            f"entry {config.entry} cannot be built with these settings ({one_line(error)}); make its sizes smaller"
        ) from error


def check_memory(config: RunConfig, model: Model, on_cpu: bool) -> None:
    """ValueError if the parameters of a model, outlined or not, take more than this machine has: with their gradients
    and what the optimisers keep if it trains `on_cpu`, else by themselves, for they are drawn on the CPU."""
    parameters, have = sum(one.numel() for one in model.parameters()), memory()
    size = (8 if config.train.precision == "float64" else 4) * (TRAINED if on_cpu else 1)
    if have and parameters * size > have:
        what = "with their gradients and the optimiser's means" if on_cpu else "by themselves"
        raise ValueError(
            f"entry {config.entry} would have {parameters:,} parameters with these settings, which take "
            f"{in_words(parameters * size)} {what}; this machine has {in_words(have)}: make its sizes smaller"
        )


def check_fit(model: Model) -> None:
    """ValueError if a model has a method `fit` and does not say that it `Fits`: its parts would keep their first values
    in silence."""
    if callable(getattr(type(model), "fit", None)) and not isinstance(model, Fits):
        raise ValueError(
            f"{type(model).__name__} has a method fit that nobody calls: name Fits (gen/capabilities.py) among its "
            "bases, or give the method another name"
        )


def check_batch(config: TrainConfig, model: Model) -> None:
    """ValueError if BatchNorm would normalise single images: by themselves, or not at all."""
    images = config.batch * (config.micro_batches if config.sync_batchnorm else 1)
    players = [phase.player for phase in model.phases()]
    if images == 1 and any(isinstance(part, BATCH_NORMS) for player in players for part in player.modules()):
        raise ValueError(
            f"train.batch=1 is out of range for {type(model).__name__} with BatchNorm, which normalises over several "
            "images; allowed: at least 2, or networks without BatchNorm"
        )


def check_augment(augment: AugmentConfig, dataset: Dataset, model: Model) -> None:
    """ValueError if augmentation would change nothing: a run under another name would be the same run."""
    if augment.changes and has(model, TwoStage):
        raise ValueError(
            f"data.augment changes images, and {type(model).__name__} learns from codes, which its first stage gave "
            "images as they are; leave data.augment.* out"
        )
    side = dataset.shape.size
    if augment.margin and not round(side * augment.margin):
        raise ValueError(
            f"data.augment.margin={augment.margin:g} adds no pixel to images of {side}; allowed: 0, for no crops, or "
            f"at least {1 / side:g}"
        )


def further(config: RunConfig, judge: Judge) -> list[str]:
    """The names of the figures that each tick measures by `evaluate.also`."""
    return [judge.full_name(one.strip()) for one in config.evaluate.also.split(",") if one.strip()]


def steering(config: RunConfig, judge: Judge, model: Model) -> str:
    """Name of the figure that selects the best weights: `evaluate.metric`, or by default the first that the model has.
    ValueError if the model has no such figure, or if the metric's direction is not that of `evaluate.mode`."""
    names = judge.steers(model, config.evaluate.tick_images(judge.dataset.length("train")))
    if not names:
        able = [capability.__name__ for capability, _ in MEASURES if has(model, capability)]
        advice = (
            f"its validation images are too few, here {judge.dataset.length('validation')} where it takes at least 2 "
            f"(add images, or raise data.validation), or lack a column, for a model that {' and '.join(able)}"
            if able
            else f"name a capability among the bases of {type(model).__name__}, such as Imitates (gen/capabilities.py)"
        )
        raise ValueError(f"entry {config.entry} on {judge.dataset.name} has nothing to be measured by: {advice}")
    metric = judge.full_name(config.evaluate.metric) or names[0]
    for one in further(config, judge):
        if one not in names:
            raise ValueError(f"evaluate.also={one!r} is no figure of {config.entry}; allowed: {', '.join(names)}")
    if metric not in names:
        raise ValueError(
            f"evaluate.metric={metric!r} is no figure of {config.entry} to select by; allowed: {', '.join(names)}"
        )
    if config.evaluate.floor and config.evaluate.floor not in names:
        raise ValueError(
            f"evaluate.floor={config.evaluate.floor!r} is not measured for {config.entry}; allowed: {', '.join(names)}"
        )
    if config.watch.recall and not (has(model, Plays) and RECALL in names):
        raise ValueError(
            f"watch.recall={config.watch.recall:g} needs a game of players and its {RECALL}, not measured for "
            f"{config.entry} on {judge.dataset.name}; allowed: 0, which leaves recall out"
        )
    direction(metric, config.evaluate.mode)
    if config.evaluate.floor and direction(config.evaluate.floor) == "min":
        raise ValueError(
            f"evaluate.floor={config.evaluate.floor!r}: of it small values are good, and a floor is to be reached; "
            "allowed: figures of which large values are good"
        )
    return metric
