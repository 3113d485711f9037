"""The kernel distance against torchmetrics, and against its closed form between Gaussians."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from gen.metrics.kernel import kernel_distance, squared_discrepancy


def normal(count: int, width: int, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64) + shift


class Same(torch.nn.Module):
    """Features that are given as they are."""

    def forward(self, features: Tensor) -> Tensor:
        return features


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all:UserWarning")
@pytest.mark.parametrize(("subsets", "size"), [(1, 40), (7, 20)])
def test_equal_to_torchmetrics(subsets: int, size: int) -> None:
    real, fakes = normal(60, 16, 0), normal(40, 16, 1, 0.3)
    theirs = KernelInceptionDistance(Same(), subsets=subsets, subset_size=size)
    theirs.set_dtype(torch.float64)
    theirs.update(real, real=True)
    theirs.update(fakes, real=False)
    torch.manual_seed(5)  # it draws its subsets from the global generator, in the same order
    mean, spread = theirs.compute()
    assert kernel_distance(real, fakes, subsets, size, seed=5) == pytest.approx((float(mean), float(spread)), rel=1e-9)


def test_equal_to_a_plain_double_loop() -> None:
    real, fakes = normal(7, 3, 2), normal(5, 3, 3, 1.0)

    def mean(one: Tensor, other: Tensor, same: bool) -> float:
        pairs = [(i, j) for i in range(len(one)) for j in range(len(other)) if not (same and i == j)]
        return sum((float(one[i] @ other[j]) / 3 + 1) ** 3 for i, j in pairs) / len(pairs)

    expected = mean(real, real, True) + mean(fakes, fakes, True) - 2 * mean(real, fakes, False)
    assert float(squared_discrepancy(real, fakes)) == pytest.approx(expected, rel=1e-12)


def expected_kernel(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """E (x.y / D + 1)^3 of independent Gaussians (mean, covariance), from their first three moments."""
    (mean, second, third), (mean_b, second_b, third_b) = moments(*one), moments(*other)
    width = len(mean)
    linear, square, cube = (mean * mean_b).sum(), (second * second_b).sum(), (third * third_b).sum()
    return float(1 + 3 * linear / width + 3 * square / width**2 + cube / width**3)


def moments(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    third = torch.einsum("i,j,k->ijk", mean, mean, mean)
    for pattern in ("i,jk->ijk", "j,ik->ijk", "k,ij->ijk"):
        third = third + torch.einsum(pattern, mean, covariance)
    return mean, covariance + torch.outer(mean, mean), third


def test_unbiased_between_gaussians() -> None:
    """Over independent draws its mean is the closed form, within four standard errors, themselves a small share."""
    width, count, repeats = 4, 50, 400
    mixing = normal(width, width, 10)
    real = (torch.zeros(width, dtype=torch.float64), torch.eye(width, dtype=torch.float64))
    fake = (torch.full((width,), 0.5, dtype=torch.float64), mixing @ mixing.mT)
    expected = expected_kernel(real, real) + expected_kernel(fake, fake) - 2 * expected_kernel(real, fake)
    found = torch.stack(
        [
            squared_discrepancy(normal(count, width, 100 + i), normal(count, width, 1000 + i) @ mixing.mT + 0.5)
            for i in range(repeats)
        ]
    )
    error = float(found.std()) / math.sqrt(repeats)
    assert error < expected / 20
    assert abs(float(found.mean()) - expected) < 4 * error


def test_zero_on_average_between_samples_of_one_distribution() -> None:
    found = torch.stack([squared_discrepancy(normal(50, 4, i), normal(50, 4, 500 + i)) for i in range(200)])
    assert abs(float(found.mean())) < 4 * float(found.std()) / math.sqrt(len(found))
    assert (found < 0).any(), "an unbiased estimate of zero is negative at times"


@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 100))
def test_subsets_are_no_larger_than_a_side(count: int, other: int, seed: int) -> None:
    real, fakes = normal(count, 3, seed), normal(other, 3, seed + 1)
    mean, spread = kernel_distance(real, fakes, subsets=3)
    assert math.isfinite(mean)
    assert spread >= 0
    if count == other:  # each subset is the whole, in another order
        terms = max(float(squared_discrepancy(side, -side).abs()) for side in (real, fakes)) + 8
        assert mean == pytest.approx(float(squared_discrepancy(real, fakes)), rel=1e-9, abs=1e-12 * terms)
        assert spread <= 1e-12 * terms


def test_the_same_each_time_and_the_global_generator_is_left_alone() -> None:
    real, fakes = normal(50, 4, 0), normal(50, 4, 1)
    state = torch.get_rng_state()
    assert kernel_distance(real, fakes, 5, 20) == kernel_distance(real, fakes, 5, 20)
    assert kernel_distance(real, fakes, 5, 20) != kernel_distance(real, fakes, 5, 20, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_too_few_images_and_features_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="at least 2 images a side, it got 5 and 1"):
        kernel_distance(normal(5, 3, 0), normal(1, 3, 1))
    assert math.isnan(kernel_distance(normal(5, 3, 0), normal(5, 3, 1) * math.nan)[0])
