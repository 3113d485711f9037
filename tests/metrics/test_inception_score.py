"""The inception score against torchmetrics and its bounds."""

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.image.inception import InceptionScore as Theirs

from gen.metrics.inception_score import InceptionScore


def score(*parts: Tensor) -> float:
    found = InceptionScore(parts[0].shape[1])
    for part in parts:
        found.add(part)
    return found.value()


class Same(torch.nn.Module):
    """Logits that are given as they are."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save all:UserWarning")
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_equal_to_torchmetrics(scale: float) -> None:
    logits = scale * torch.randn(300, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theirs = Theirs(Same(), splits=1)
    theirs.update(logits)
    assert score(logits) == pytest.approx(float(theirs.compute()[0]), rel=1e-9)


def test_one_if_nothing_is_told_apart_and_the_number_of_classes_at_best() -> None:
    assert score(torch.zeros(20, 7)) == pytest.approx(1, rel=1e-12)
    assert score(torch.eye(7).repeat(3, 1) * 1000) == pytest.approx(7, rel=1e-9)
    assert score(torch.eye(7)[:1].repeat(9, 1) * 1000) == pytest.approx(1, rel=1e-12), "sure, and always of one class"
    assert math.isnan(InceptionScore(7).value())


def test_batches_and_workers_add_up() -> None:
    logits = torch.randn(50, 5, generator=torch.Generator().manual_seed(1))
    workers = [InceptionScore(5), InceptionScore(5)]
    for worker, part in zip(workers, logits.split([30, 20]), strict=True):
        worker.add(part)
    for mine, other in zip(*(worker.tensors() for worker in workers), strict=True):
        mine += other
    assert workers[0].value() == pytest.approx(score(logits), rel=1e-12)
    assert score(*logits.split(7)) == pytest.approx(score(logits), rel=1e-12)
