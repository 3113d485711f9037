"""What real images reach against others: the floor of figures that compare features."""

from __future__ import annotations

import pytest
import torch

from gen.data.dataset import Dataset
from gen.distributed.workers import ALONE, Workers
from gen.judge import Judge, floor
from gen.judge.networks.extractors import Extractor
from gen.metrics.table import FRECHET, METRICS, metric
from tests.fixtures.pair import Pair


@pytest.mark.slow
def test_held_out_images_against_the_reference(judge: Judge) -> None:
    figures = {one.metric: one for one in floor(judge, "test")}
    count = {split: judge.dataset.count(split, "image") for split in ("validation", "test")}
    named = {one for one in METRICS if metric(one).floor} - {"fid", FRECHET}
    assert set(figures) == {"frechet_classifier", *named}  # in features of a classifier
    distance = figures["frechet_classifier"]
    assert (distance.n_real, distance.n_fake) == (count["test"], count["validation"])
    assert (distance.subject, distance.weights, distance.split) == ("images", "real", "test")
    few = {one.metric: one for one in floor(judge, "test", images=50)}
    assert 0 < distance.value < few["frechet_classifier"].value  # fewer images: a worse estimate
    with torch.no_grad():
        assert floor(judge, "test")[0] == figures[floor(judge, "test")[0].metric]  # no chance in it
    with pytest.raises(ValueError, match="1 images of validation are too few for a floor"):
        floor(judge, "test", images=1)


def measured(workers: Workers, dataset: Dataset, extractor: Extractor) -> dict[str, float]:
    judge = Judge(dataset, extractor, torch.device("cpu"), batch=50)
    values = {one.metric: one.value for one in floor(judge, "test", workers=workers)}
    return workers.share({**values, "rank": workers.rank})


def test_two_workers_measure_as_one(digits: Dataset, judge: Judge, pair: Pair) -> None:
    alone = measured(ALONE, digits, judge.extractor)
    for together in pair.run(measured, digits, judge.extractor):
        assert together == pytest.approx(alone, rel=1e-6)
        assert together["rank"] == 0  # what the first one gave
