"""Training images that are cropped and mirrored keep the law of workers."""

from __future__ import annotations

import pytest
import torch

from gen.config import RunConfig
from gen.data.dataset import Dataset
from gen.distributed.workers import ALONE, Workers
from gen.phase import Batch
from tests.fixtures.pair import Pair
from tests.seams.house import PLAYED, data_of, exact, stepper

AUGMENTED = {"data.augment.flip": True, "data.augment.margin": 0.5}


def drawn(workers: Workers, config: RunConfig, dataset: Dataset) -> list[Batch]:
    """A worker's micro-batches of a draw."""
    return [dict(batch) for batch in stepper(config, dataset, workers)._draw(9)]


@pytest.mark.parametrize("entry", PLAYED)
def test_two_workers_crop_and_mirror_as_one(entry: str, pair: Pair) -> None:
    config, dataset = exact(entry, 4, **AUGMENTED), data_of(entry)
    alone, together = drawn(ALONE, config, dataset), pair.run(drawn, config, dataset)
    assert [len(batches) for batches in together] == [2, 2]
    for one, other in zip(alone, [*together[0], *together[1]], strict=True):
        assert all(torch.equal(one[column], other[column]) for column in dataset.columns)
    (first, *_), plain = alone, drawn(ALONE, exact(entry, 4), dataset)[0]
    same = {column for column in dataset.columns if torch.equal(first[column], plain[column])}
    assert same == dataset.columns & {"label"}
