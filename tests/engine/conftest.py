from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import pytest
import torch

from gen.config import DataConfig, TrainConfig
from gen.data.dataset import Dataset, open_dataset
from gen.data.stream import Stream
from gen.engine.fit import build_model
from gen.engine.judge import Judge, shared_classifier
from gen.engine.stage_one import staged
from gen.engine.step import Stepper
from gen.engine.workers import ALONE
from gen.phase import TwoStageConfig
from gen.zoo import ZOO, tiny
from tests.engine.pair import Pair

FEW = 64  # images of a split
FEWER = (50, 3)  # images and samples of the importance-weighted bound


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(str(tmp_path_factory.mktemp("pair") / "rendezvous"))
    yield pair
    pair.close()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def digits(cache: str) -> Dataset:
    """With the codes of a tiny VQ-VAE, for the entries that have a first stage."""
    dataset, config = open_dataset(DataConfig("digits"), cache=cache), tiny(ZOO["vqvae_gmm"])
    assert isinstance(config.model, TwoStageConfig)
    assert config.model.stage_one is not None
    first, cpu = build_model(tiny(ZOO["vqvae"]), dataset, torch.device("cpu")), torch.device("cpu")
    stream = Stream(dataset.splits["train"], 0, 64, cpu, torch.float32)
    steps = Stepper(first, TrainConfig(batch=64, micro_batches=1), 0, stream, cpu, ALONE)
    for _ in range(30):
        steps.advance()
    return staged(dataset, config.model.stage_one, first.state_dict(), cpu, cache)


@pytest.fixture(scope="session")
def fitting(digits: Dataset, cache: str) -> Callable[[str], Dataset]:
    """Entry -> the digits at the size that its tiny form takes: as they are, or few of them where they are larger."""

    @functools.cache
    def at(size: int) -> Dataset:
        if not size:
            return digits
        whole = open_dataset(DataConfig("digits", size), cache=cache)
        few = {
            split: tuple({name: column[:FEW].clone() for name, column in table.items()} for table in tables)
            for split, tables in whole.splits.items()
        }
        return dataclasses.replace(whole, hash=whole.hash[::-1], splits=few)

    return lambda entry: at(tiny(ZOO[entry]).data.size if entry in ZOO else 0)


@pytest.fixture(scope="session")
def judging(digits: Dataset, judge: Judge) -> Callable[[Dataset], Judge]:
    """Dataset -> its judge."""
    device, judges = torch.device("cpu"), {digits.hash: judge}

    def judge_of(dataset: Dataset) -> Judge:
        if dataset.hash not in judges:
            judges[dataset.hash] = Judge(
                dataset, shared_classifier(dataset, None, device), device, 100, importance=FEWER
            )
        return judges[dataset.hash]

    return judge_of


@pytest.fixture(scope="session")
def judge(digits: Dataset) -> Judge:
    device = torch.device("cpu")
    return Judge(digits, shared_classifier(digits, None, device), device, 100, importance=FEWER)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
