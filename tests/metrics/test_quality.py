"""Errors of images and use of codes, against numbers worked out by hand."""

import math

import pytest
import torch

from gen.metrics.quality import perplexity, share_used, squared_error


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
