"""What a process keeps from run to run: data sets and their judges."""

from __future__ import annotations

import functools
from typing import Any

import torch

from gen.config import DataConfig, EvaluateConfig
from gen.data.dataset import Dataset, open_dataset
from gen.distributed.workers import ALONE, Workers
from gen.judge import Judge, open_judge
from gen.results.storage import Storage


@functools.lru_cache(maxsize=2)
def opened(config: DataConfig, root: str | None, download: bool) -> Dataset:
    """The data set, once a process."""
    return open_dataset(config, root, download)


@functools.lru_cache(maxsize=2)
def judge_of(
    config: DataConfig,
    evaluate: EvaluateConfig,
    inception_weights: str,
    root: str | None,
    download: bool,
    place: str,
    device: torch.device,
    workers: Workers = ALONE,
) -> Judge:
    """The judge of a data set, once a process: its extractor and the statistics of the real images."""
    dataset, storage = opened(config, root, download), Storage(place)
    more: dict[str, Any] = {"inception_weights": inception_weights, "data_root": root, "download": download}
    return open_judge(dataset, evaluate, device, workers, storage, **more)
