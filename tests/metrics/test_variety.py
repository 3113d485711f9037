"""How much images vary, against sums by hand."""

import pytest
import torch

from gen.metrics.variety import variety


def test_variance_is_of_all_numbers_and_distance_of_all_pairs():
    images = torch.randn(5, 3, 4, 4)
    variance, distance = variety(images)
    assert variance.item() == pytest.approx(images.double().var(correction=0).item())
    pairs = [(images[a] - images[b]).square().mean().sqrt().item() for a in range(5) for b in range(a)]
    assert distance.item() == pytest.approx(sum(pairs) / 10, rel=1e-5)


def test_blank_images_have_no_variance_and_equal_ones_no_distance():
    blank, same = torch.full((4, 1, 8, 8), 0.3), torch.randn(1, 1, 8, 8).expand(4, -1, -1, -1)
    assert [value.item() for value in variety(blank)] == pytest.approx([0, 0], abs=1e-12)
    variance, distance = variety(same)
    assert variance > 0.5
    assert distance == 0, "exactly, so that it is at a share of a highest value that is 0"
