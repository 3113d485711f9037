from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gen.config import DataConfig
from gen.data.dataset import Dataset, open_dataset
from gen.engine.judge import Judge, shared_classifier
from tests.engine.pair import Pair


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
    return open_dataset(DataConfig("digits"), cache=cache)


@pytest.fixture(scope="session")
def judge(digits: Dataset) -> Judge:
    device = torch.device("cpu")
    return Judge(digits, shared_classifier(digits, None, device), device, 100)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
