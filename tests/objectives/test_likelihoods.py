import pytest
import torch
from torch.distributions import Bernoulli as BernoulliDistribution

from gen.objectives.likelihoods import Bernoulli, SquaredError


def test_bernoulli_is_the_negative_log_likelihood_summed_over_pixels():
    logits = torch.randn(5, 12, dtype=torch.float64)
    bits = torch.randint(2, (5, 3, 2, 2)).double()
    distortion = Bernoulli().distortion(logits, bits * 2 - 1)
    expected = -BernoulliDistribution(logits=logits).log_prob(bits.flatten(1)).sum(1)
    torch.testing.assert_close(distortion, expected)


def test_bernoulli_of_grey_values_is_least_at_their_own_mean():
    image = torch.rand(4, 1, 3, 3, dtype=torch.float64) * 1.8 - 0.9
    logits = torch.logit((image + 1) / 2).requires_grad_()
    (slope,) = torch.autograd.grad(Bernoulli().distortion(logits, image).sum(), logits)
    torch.testing.assert_close(slope, torch.zeros_like(slope))
    torch.testing.assert_close(Bernoulli().mean(logits.detach()), image)


def test_squared_error_is_on_the_scale_of_half_and_its_mean_inverts_it():
    image = torch.rand(4, 3, 2, 2) * 2 - 1
    torch.testing.assert_close(SquaredError().distortion(image / 2, image), torch.zeros(4))
    torch.testing.assert_close(SquaredError().distortion(image / 2 + 0.1, image), torch.full((4,), 0.01))
    torch.testing.assert_close(SquaredError().mean(image / 2), image)
    assert SquaredError().mean(torch.tensor([-3.0, 3.0])).tolist() == [-1, 1]


@pytest.mark.parametrize("likelihood", [Bernoulli(), SquaredError()])
def test_low_precision_is_lifted_and_double_kept(likelihood):
    image = torch.zeros(2, 1, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert likelihood.distortion(image.bfloat16(), image).dtype == torch.float32
    assert likelihood.distortion(image.double(), image.double()).dtype == torch.float64
