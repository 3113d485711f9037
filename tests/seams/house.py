"""Runs of the toy games and of the zoo's entries through the whole house, each on data that it can train on."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas
import torch

from gen.config import RunConfig, TwoStageConfig, on_stage, override
from gen.data.dataset import Dataset
from gen.data.stream import Stream
from gen.distributed.workers import ALONE, Workers
from gen.engine.build import build_model
from gen.engine.fit import Tick, fit
from gen.engine.stage_one import Staged, install
from gen.engine.step import Stepper
from gen.judge import Judge, shared_classifier
from gen.judge.networks.extractors import Extractor
from gen.phase import Shape
from gen.record.record import Home
from gen.results.queries import read
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny
from tests.fixtures import tables
from tests.fixtures.games import GAMES

CPU = torch.device("cpu")
ALL = {**GAMES, **ZOO}
SMALL = {
    "budget.epochs": 2,
    "budget.checkpoint_seconds": 0,
    "evaluate.images": 30,
    "evaluate.full_images": 40,
    "evaluate.batch": 20,
    "evaluate.importance_images": 20,
    "evaluate.importance_samples": 2,
}
EXPERIMENT, CHANNELS = "seams", 3  # in colour, for the engine's own tests see grey digits


def small(entry: str, dataset: Dataset | None = None, **settings: Any) -> RunConfig:
    """The entry's config at its smallest, on the first stage of its data if it has one."""
    config = override(tiny(ALL[entry]), {**SMALL, **settings})
    if isinstance(config.model, TwoStageConfig):
        dataset = dataset or data_of(entry)
        assert isinstance(dataset, Staged)
        config = on_stage(config, dataset.stage_one)
    return config


def size_of(entry: str) -> int:
    """Pixels a side of the images that the entry is tested on."""
    return tiny(ALL[entry]).data.size or 8


def needs_of(entry: str) -> frozenset[str]:
    """The columns that the entry needs."""
    return tiny(ALL[entry]).model.build(Shape(CHANNELS, size_of(entry), tables.CLASSES)).needs


@functools.cache
def data_of(entry: str, few: bool = False) -> Dataset:
    """The plainest fixture that has the columns which the entry needs, or the one of `few` labels; with codes where the
    entry stands on a first stage."""
    size = size_of(entry)
    dataset = tables.few_labelled(size, CHANNELS) if few else tables.fitting(needs_of(entry), size, CHANNELS)
    return tables.coded(dataset) if isinstance(tiny(ALL[entry]).model, TwoStageConfig) else dataset


@functools.cache
def judge_of(entry: str) -> Judge:
    """The judge of an entry's data set. Its extractor is trained once for all who have the same images."""
    dataset, config = data_of(entry), small(entry)
    importance = (config.evaluate.importance_images, config.evaluate.importance_samples)
    if dataset.hash not in EXTRACTORS:
        EXTRACTORS[dataset.hash] = shared_classifier(dataset, None, CPU)
    return Judge(dataset, EXTRACTORS[dataset.hash], CPU, config.evaluate.batch, importance=importance)


PLAYED = [  # a game of every shape that the house must take: the toys, and the zoo's on several tables
    *GAMES,
    *(entry for entry in ZOO if len(tables.fitting(needs_of(entry) - {"codes"}).splits["train"]) > 1),
]
EXTRACTORS: dict[str, Extractor] = {}  # data hash -> network


def home(place: Path) -> Home:
    return Home(Storage(str(place)), EXPERIMENT, "attempt")


def trained(entry: str, config: RunConfig, place: Path) -> list[Tick]:
    """All ticks of a run that leaves its rows and checkpoints at `place`."""
    return list(fit(config, data_of(entry), device=CPU, judge=judge_of(entry), home=home(place)))


def rows(place: Path, table: str) -> pandas.DataFrame:
    """The table without what differs between two runs: clocks."""
    frame = read(str(place), EXPERIMENT, table)
    if table == "metrics":
        frame = frame[~frame["name"].str.startswith("engine/")]
    clocks = ["seconds", "images_per_second", "ended", "started", "time", "hosts"]
    frame = frame.drop(columns=[name for name in clocks if name in frame])
    return frame.sort_values(list(frame.columns.difference(["png"]))).reset_index(drop=True)


def exact(entry: str, micro_batches: int, **settings: Any) -> RunConfig:
    """The entry's config for comparisons in float64."""
    return small(entry, **{"train.precision": "float64", "train.micro_batches": micro_batches, **settings})


def stepper(config: RunConfig, dataset: Dataset, workers: Workers = ALONE, device: torch.device = CPU) -> Stepper:
    """The steps of a run, as `fit` makes them."""
    config = config.resolve()
    model = build_model(config, dataset, device)
    install(model, dataset)
    dtype = torch.float64 if config.train.precision == "float64" else torch.float32
    draw = config.train.batch * config.train.micro_batches
    stream = Stream(dataset.splits["train"], config.seed, draw, device, dtype, augment=config.data.augment)
    return Stepper(model, config.train, config.seed, stream, device, workers)
