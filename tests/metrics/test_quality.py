"""Errors of images and use of codes, against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.image import peak_signal_noise_ratio

from gen.metrics.quality import (
    perplexity,
    rightly_classified,
    share_used,
    signal_to_noise,
    similarity,
    squared_error,
)


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images in [-1, 1], and the same with noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(*shape, generator=generator) * 2 - 1
    return images, (images + 0.3 * torch.randn(*shape, generator=generator)).clamp(-1, 1)


def test_squared_error_is_on_the_scale_of_zero_to_one() -> None:
    black, white, images = -torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    assert squared_error(black, white).tolist() == [1, 1]
    assert squared_error(images, white).tolist() == [0.25, 0.25]
    images[0, 0] = 1
    assert squared_error(images, torch.zeros(2, 3, 4, 4)).tolist() == pytest.approx([0.25 / 3, 0])


def test_perplexity_and_share_used() -> None:
    assert perplexity(torch.tensor([5, 5, 5, 5])) == pytest.approx(4)
    assert perplexity(torch.tensor([0, 7, 0])) == pytest.approx(1)
    assert perplexity(torch.tensor([3, 1])) == pytest.approx(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))
    assert share_used(torch.tensor([0, 7, 0, 1])) == 0.5
    assert math.isnan(perplexity(torch.zeros(4, dtype=torch.int64)))


def test_signal_to_noise_is_that_of_torchmetrics() -> None:
    images, other = pair(5, 3, 9, 9)
    for number, found in enumerate(signal_to_noise(images, other)):
        ranges = [(side[number].double() + 1) / 2 for side in (other, images)]
        assert float(found) == pytest.approx(
            float(peak_signal_noise_ratio(*ranges, data_range=1.0)), rel=1e-6
        )  # in float32
    assert signal_to_noise(images, images).tolist() == [math.inf] * 5
    assert signal_to_noise(-torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).tolist() == [0]


@pytest.mark.parametrize("channels", [1, 3])
def test_similarity_is_that_of_gaussian_windows(channels: int) -> None:
    """Wang et al. 2004, eq. 13, by SciPy's filter, on the scale [0, 1]."""
    images, other = pair(4, channels, 16, 16)

    def blur(planes: np.ndarray) -> np.ndarray:
        return gaussian_filter(planes, sigma=(0, 0, 1.5, 1.5), truncate=10 / 3, mode="mirror")

    x, y = ((side.double().numpy() + 1) / 2 for side in (images, other))
    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    bright = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    alike = (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)
    expected = (bright * alike).mean((1, 2, 3))
    assert similarity(images, other).tolist() == pytest.approx(expected.tolist(), rel=1e-6)  # its window is float32
    assert similarity(images, images).tolist() == pytest.approx([1] * 4)
    assert similarity(images[:1], other[:1]).tolist() == pytest.approx(expected[:1].tolist(), rel=1e-6)


def test_similarity_needs_room_for_its_window() -> None:
    with pytest.raises(ValueError, match="at least 6 pixels a side, these have 4"):
        similarity(*pair(2, 1, 4, 4))


def test_rightly_classified() -> None:
    assert int(rightly_classified(torch.eye(4)[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 3]))) == 3
