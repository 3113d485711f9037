"""The Frechet distance against pytorch-fid, and against the closed form where there is one."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_fid.fid_score import calculate_frechet_distance
from torch import Tensor

from gen.metrics.frechet import PANEL, Reference
from gen.metrics.moments import Moments


def gaussian(width: int, seed: int, count: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of `count` features, well-conditioned if there are many more than `width`."""
    rng = np.random.default_rng(seed)
    moments = Moments(width)
    mixing = rng.normal(0, 1 / math.sqrt(width), (width, width)) + np.eye(width)
    moments.add(torch.from_numpy(rng.normal(rng.normal(), 1, (count or 20 * width, width)) @ mixing))
    return moments.mean(), moments.covariance()


def distance(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    return Reference.of(mean_a, covariance_a).distance(mean_b, covariance_b)


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")  # pytorch-fid's own
@pytest.mark.parametrize("width", [2, 16, 64, 200, PANEL + 44])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_to_pytorch_fid(width: int, seed: int) -> None:
    one, other = gaussian(width, seed), gaussian(width, seed + 100)
    expected = calculate_frechet_distance(*(part.numpy() for part in (*one, *other)))
    assert distance(*one, *other) == pytest.approx(expected, rel=1e-6)


ROUND_OFF = math.sqrt(torch.finfo(torch.float64).eps)
POSITIVE = st.floats(0, 100)
ANY = st.floats(-100, 100)


@given(st.lists(st.tuples(ANY, ANY, POSITIVE, POSITIVE), min_size=1, max_size=8))
def test_equal_to_the_closed_form_of_diagonal_gaussians(rows: list[tuple[float, ...]]) -> None:
    mean_a, mean_b, variance_a, variance_b = torch.tensor(rows, dtype=torch.float64).T
    expected = (mean_a - mean_b).square().sum() + (variance_a.sqrt() - variance_b.sqrt()).square().sum()
    found = distance(mean_a, variance_a.diag(), mean_b, variance_b.diag())
    assert found == pytest.approx(float(expected), rel=1e-6, abs=1e-9)


@given(st.integers(1, 20), st.integers(0, 1000))
def test_symmetric_zero_to_itself_and_unmoved_by_rotation(width: int, seed: int) -> None:
    one, other = gaussian(width, seed), gaussian(width, seed + 5000)
    found = distance(*one, *other)
    assert found == pytest.approx(distance(*other, *one), rel=1e-6, abs=1e-9)
    # An eigenvalue of S C S that should be zero comes out as round-off of the largest, and counts by its root.
    assert 0 <= distance(*one, *one) <= width * float(torch.linalg.matrix_norm(one[1], 2)) * ROUND_OFF
    turn = torch.linalg.qr(torch.from_numpy(np.random.default_rng(seed).normal(size=(width, width)))).Q
    turned = [part for mean, covariance in (one, other) for part in (turn @ mean, turn @ covariance @ turn.mT)]
    assert distance(*turned) == pytest.approx(found, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("count", [2, 10, 63])
def test_finite_with_fewer_images_than_features(count: int) -> None:
    few, many = gaussian(64, 0, count), gaussian(64, 1)
    for one, other in ((few, many), (many, few), (few, few)):
        found = distance(*one, *other)
        assert math.isfinite(found)
        assert found >= 0
    assert distance(*few, *many) == pytest.approx(distance(*many, *few), rel=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_finite_where_the_matrix_square_root_fails() -> None:
    """Two sides of low rank and large scale: SciPy's root has imaginary parts that pytorch-fid refuses."""
    scale = 2.0**14  # a power of two: no digit of the features changes
    sides = [(mean * scale, covariance * scale**2) for mean, covariance in (gaussian(64, 0, 10), gaussian(64, 1, 10))]
    with pytest.raises(ValueError, match="Imaginary component"):
        calculate_frechet_distance(*(part.numpy() for side in sides for part in side))
    expected = distance(*gaussian(64, 0, 10), *gaussian(64, 1, 10)) * scale**2
    assert distance(*sides[0], *sides[1]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_gives_nan(bad: float) -> None:
    one, (mean, covariance) = gaussian(4, 0), gaussian(4, 1)
    assert math.isnan(distance(*one, mean * bad, covariance))
    assert math.isnan(distance(*one, mean, covariance * bad))


def rows(count: int, width: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(count, width)) @ rng.normal(0, 1 / math.sqrt(width), (width, width)))


@pytest.mark.parametrize("count", [2, 10, 63, 64, 65, 500])
@pytest.mark.parametrize("of_reference", [20, 1000])
def test_few_features_give_the_same_number_by_the_gram_form(count: int, of_reference: int) -> None:
    """Against the singular values of A S, in NumPy; and against the long form, whose round-off is larger."""
    width = 64
    moments = Moments(width)
    moments.add(rows(of_reference, width, 0))
    reference, features = Reference.of(moments.mean(), moments.covariance()), rows(count, width, 1)
    centred = (features - features.mean(0)).numpy() / math.sqrt(count - 1)
    shared = np.linalg.svd(centred @ reference.root.numpy().T, compute_uv=False)
    between = float((reference.mean - features.mean(0)).square().sum())
    expected = between + float(reference.covariance.trace()) + (centred**2).sum() - 2 * shared.sum()
    found = reference.distance_to(features)
    # Each eigenvalue that should be zero comes out as round-off of the largest, and counts by its root.
    bound = 2 * width * float(shared[0]) * ROUND_OFF
    assert found == pytest.approx(expected, rel=1e-9, abs=bound)
    assert found == pytest.approx(reference.distance(features.mean(0), features.mT.cov()), rel=1e-9, abs=bound)
    assert bound < found / 1e4


def test_one_feature_is_refused_and_what_is_not_finite_gives_nan() -> None:
    reference = Reference.of(*gaussian(4, 0))
    with pytest.raises(ValueError, match="at least 2 images, it got 1"):
        reference.distance_to(torch.zeros(1, 4))
    for count in (3, 9):
        assert math.isnan(reference.distance_to(torch.full((count, 4), math.nan)))


def test_what_is_stored_gives_the_same_distance() -> None:
    reference, other = Reference.of(*gaussian(16, 0)), gaussian(16, 1)
    data = reference.to_bytes()
    assert Reference.from_bytes(data).distance(*other) == reference.distance(*other)
    for damaged in (b"", data[: len(data) // 2], b"{}"):
        with pytest.raises(ValueError, match="are damaged; delete them"):
            Reference.from_bytes(damaged)
