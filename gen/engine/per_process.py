"""What a process keeps from run to run: data sets and their judges."""

from __future__ import annotations

import functools

import torch

from gen.config import DataConfig, EvaluateConfig, RunConfig
from gen.data.dataset import Dataset, open_dataset
from gen.distributed.workers import ALONE, Workers
from gen.judge import Features, Judge, judge_by
from gen.results.storage import Storage


def dataset_of(config: DataConfig, root: str | None, download: bool, wanted: str = "") -> Dataset:
    """The data set of a config, opened once a process. Where its hash is not the one that is `wanted`, this host's
    cache may be older than the files: these are looked at, one by one."""
    dataset = _dataset(config, root, download)
    if wanted not in ("", dataset.hash):
        open_dataset(config, root, download)
        _dataset.cache_clear()
        dataset = _dataset(config, root, download)
    return dataset


@functools.lru_cache(maxsize=2)
def _dataset(config: DataConfig, root: str | None, download: bool) -> Dataset:
    return open_dataset(config, root, download, verify=False)


def judge_of(
    config: RunConfig,
    root: str | None,
    download: bool,
    storage: Storage,
    device: torch.device,
    workers: Workers = ALONE,
) -> Judge:
    """The judge of a run's data set, opened once a process: its extractor and the statistics of the real images."""
    features = Features.of(config, root, download)
    return _judge(config.data, config.evaluate, features, storage.place, device, workers)


@functools.lru_cache(maxsize=2)
def _judge(
    data: DataConfig,
    evaluate: EvaluateConfig,
    features: Features,
    place: str,
    device: torch.device,
    workers: Workers,
) -> Judge:
    dataset, storage = dataset_of(data, features.data_root, features.download), Storage(place)
    extractor = features.open(dataset, device, workers, storage)
    teller = features.open_teller(dataset, extractor, device, workers, storage)
    return judge_by(extractor, dataset, evaluate, device, storage, teller)
