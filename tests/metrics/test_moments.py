"""Moments equal numpy's, whatever the batches and workers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gen.metrics.moments import Moments


def features(count: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(3, 2, (count, 5)) @ rng.normal(0, 1, (5, 5)))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(0, 99))
def test_batches_and_workers_add_up(sizes: list[int], seed: int) -> None:
    rows = features(sum(sizes) + 1, seed)
    workers = []
    for part in rows.split([*sizes, 1]):
        workers.append(Moments(5))
        workers[-1].add(part)
    for mine, *others in zip(*(worker.tensors() for worker in workers), strict=True):
        for other in others:
            mine += other  # in place, as an engine totals buffers
    assert workers[0].count == len(rows)
    scale = float(rows.abs().max())  # of the terms, whose round-off stays where their sum is near zero
    np.testing.assert_allclose(workers[0].mean(), rows.numpy().mean(0), rtol=0, atol=1e-14 * scale)
    np.testing.assert_allclose(workers[0].covariance(), np.cov(rows.numpy(), rowvar=False), rtol=1e-9, atol=1e-9)


def test_float32_features_are_summed_in_float64() -> None:
    moments = Moments(1)
    moments.add(torch.tensor([[1000.0], [1000.001]], dtype=torch.float32))
    assert moments.covariance().dtype == torch.float64
    assert float(moments.covariance()) == pytest.approx(0.5e-6, rel=0.1)


def test_one_image_has_no_covariance() -> None:
    moments = Moments(5)
    moments.add(features(1))
    with pytest.raises(ValueError, match="at least 2"):
        moments.covariance()
