"""Extractors for tests: of digits; Inception with random weights, since the published ones may not be at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gen.config import DataConfig
from gen.data.dataset import Dataset, open_dataset
from gen.judge.networks.classifier import Classifier, train_classifier
from jobs.bench.fid import save_random_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(DataConfig("digits"), cache=str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def inception_home(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """A folder for $TORCH_HOME, where pytorch-fid and this project look for the weights."""
    from gen.judge.networks.inception import FILE

    home = tmp_path_factory.mktemp("torch")
    save_random_weights(home / "hub" / "checkpoints" / FILE, [digits.splits["train"][0]["image"][:4].numpy()])
    return home


@pytest.fixture(scope="session")
def judge(digits: Dataset) -> Classifier:
    return train_classifier(digits, CPU)
