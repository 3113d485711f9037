import pytest
import torch
from torch.distributions import Normal, kl_divergence

from gen.metrics.collapse import active_units, posterior_sums, unit_rates


def posteriors():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 90, 4, generator=generator, dtype=torch.float64)
    mean = mean * torch.tensor([0.0, 0.05, 0.2, 2.0]) + torch.tensor([3.0, 0.0, 0.0, 0.0])
    return mean, log_variance


def test_totals_of_batches_give_the_variance_and_the_rates_of_all():
    mean, log_variance = posteriors()
    totals = sum(posterior_sums(*parts) for parts in zip(mean.split(40), log_variance.split(40), strict=True))
    assert active_units(totals, 90) == int((mean.var(0, correction=0) > 0.01).sum()) == 2
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).mean(0)
    torch.testing.assert_close(unit_rates(totals, 90), expected)


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_a_unit_that_says_the_same_of_every_image_is_not_active(shift):
    totals = posterior_sums(torch.full((50, 3), shift), torch.zeros(50, 3))
    assert active_units(totals, 50) == 0
    torch.testing.assert_close(unit_rates(totals, 50), torch.full((3,), shift**2 / 2, dtype=torch.float64))
