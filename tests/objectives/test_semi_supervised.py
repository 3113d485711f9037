import math

import numpy as np
import pytest
import torch

from gen.objectives.semi_supervised import feature_matching, real_logit


def test_the_logit_of_real_is_that_of_all_classes_beside_a_fake_one_at_zero():
    """D(x) = Z / (Z + 1) is the softmax over K + 1 classes, less the last."""
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    with_fake = np.concatenate([logits.numpy(), np.zeros((7, 1))], 1)
    shares = np.exp(with_fake) / np.exp(with_fake).sum(1, keepdims=True)
    told = torch.sigmoid(real_logit(logits))
    assert told.shape == (7, 1)
    np.testing.assert_allclose(told[:, 0].numpy(), 1 - shares[:, -1], rtol=1e-12)
    np.testing.assert_allclose(told[:, 0].numpy(), shares[:, :-1].sum(1), rtol=1e-12)


def test_large_logits_do_not_overflow_and_one_class_is_its_own_logit():
    assert real_logit(torch.tensor([[1000.0, 1000.0]])).item() == pytest.approx(1000 + math.log(2), rel=1e-7)
    assert real_logit(torch.tensor([[-3.0]])).item() == -3
    assert real_logit(torch.zeros(1, 10, dtype=torch.bfloat16)).dtype == torch.float32


def test_features_match_when_their_means_do():
    random = np.random.default_rng(0)
    real, fake = random.normal(size=(6, 4)), random.normal(size=(9, 4))
    found = feature_matching(torch.from_numpy(real), torch.from_numpy(fake))
    expected = np.sum((real.mean(0) - fake.mean(0)) ** 2) / 4
    np.testing.assert_allclose(found.item(), expected, rtol=1e-12)
    moved = real[::-1] - real.mean(0) + fake.mean(0)  # of the same mean, whatever else
    assert feature_matching(torch.from_numpy(fake), torch.from_numpy(moved.copy())).item() < 1e-30
