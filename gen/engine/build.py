"""A run's model, and the figure that selects its best weights."""

from __future__ import annotations

import torch

from gen.config import RunConfig
from gen.data.dataset import Dataset, check_needs
from gen.distributed.machine import seed
from gen.judge import Judge
from gen.metrics.table import direction
from gen.phase import Model


def build_model(config: RunConfig, dataset: Dataset, device: torch.device) -> Model:
    """The run's model, initialised from its seed; the same on every worker. ValueError if the data lacks a column."""
    seed(torch.device("cpu"), config.seed)
    model = config.model.build(dataset.shape)
    check_needs(model.needs, dataset)
    if config.train.precision == "float64":
        model = model.double()
    return model.to(device)


def steering(config: RunConfig, judge: Judge, model: Model) -> str:
    """The figure that selects the best weights: the config's, or the model's first. ValueError if it has no such, or if
    the config says another direction than the metric has."""
    names = judge.steers(model, config.evaluate.tick_images(judge.dataset.length("train")))
    if not names:
        raise ValueError(f"entry {config.entry} on {judge.dataset.name} has nothing to be measured by")
    metric = judge.full_name(config.evaluate.metric) or names[0]
    if metric not in names:
        raise ValueError(
            f"evaluate.metric={metric!r} is no figure of {config.entry} to select by; allowed: {', '.join(names)}"
        )
    if config.evaluate.floor and config.evaluate.floor not in names:
        raise ValueError(
            f"evaluate.floor={config.evaluate.floor!r} is not measured for {config.entry}; allowed: {', '.join(names)}"
        )
    direction(metric, config.evaluate.mode)
    if config.evaluate.floor and direction(config.evaluate.floor) == "min":
        raise ValueError(
            f"evaluate.floor={config.evaluate.floor!r}: of it small values are good, and a floor is to be reached; "
            "allowed: figures of which large values are good"
        )
    return metric
