"""Extractors for tests: of digits; Inception with random weights, since the published ones may not be at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gen.config import DataConfig
from gen.data.dataset import Dataset, open_dataset
from gen.data.stream import scaled

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(DataConfig("digits"), cache=str(tmp_path_factory.mktemp("cache")))


def save_random_inception(path: Path, images: torch.Tensor) -> Path:
    """A state of random weights whose BatchNorm statistics are those of `images` (N, 3, H, W) in [-1, 1], passed once.

    Without that pass the 2,048 features have a standard deviation of 2e-9.
    """
    from gen.metrics.inception import SIZE, network

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        whole = network()
        for part in whole.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = None  # the statistics become those of the pass
        whole.train()
        whole(torch.nn.functional.interpolate(images, (SIZE, SIZE), mode="bilinear"))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(whole.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def inception_home(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """A folder for $TORCH_HOME, where pytorch-fid and this project look for the weights."""
    from gen.metrics.inception import FILE

    home = tmp_path_factory.mktemp("torch")
    images = scaled(digits.splits["train"][0]["image"][:4], CPU, torch.float32).expand(-1, 3, -1, -1).contiguous()
    save_random_inception(home / "hub" / "checkpoints" / FILE, images)
    return home
