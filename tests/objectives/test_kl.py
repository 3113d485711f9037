import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from gen.objectives.kl import active_units, kl_to_uniform, rates


@given(seed=st.integers(0, 2**31), size=st.integers(1, 20))
def test_agrees_with_the_closed_form_of_torch_distributions(seed, size):
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, 3, size, generator=generator, dtype=torch.float64) * 3
    posterior = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    torch.testing.assert_close(rates(mean, log_variance).sum(1), kl_divergence(posterior, prior))


def test_is_zero_at_the_prior_only():
    assert rates(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert (rates(torch.full((1, 3), 0.1), torch.zeros(1, 3)) > 0).all()


def test_rates_are_each_unit_s_own_and_agree_with_finite_differences():
    mean, log_variance = torch.randn(2, 4, 3, dtype=torch.float64)
    posterior, prior = Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros_like(mean), torch.ones_like(mean))
    torch.testing.assert_close(rates(mean, log_variance), kl_divergence(posterior, prior))
    assert torch.autograd.gradcheck(rates, (mean.requires_grad_(), log_variance.requires_grad_()))


@given(count=st.integers(1, 100), codes=st.integers(2, 600))
def test_kl_of_single_codes_from_a_uniform_prior_is_that_of_torch_distributions(count, codes):
    certain = Categorical(torch.nn.functional.one_hot(torch.tensor(codes // 2), codes).double())
    each = kl_divergence(certain, Categorical(torch.ones(codes, dtype=torch.float64)))
    assert kl_to_uniform(count, codes) == pytest.approx(count * each.item(), rel=1e-6)


def test_units_are_active_where_their_mean_varies_over_images():
    mean = torch.stack([torch.zeros(100), torch.linspace(-1, 1, 100), torch.full((100,), 5.0)], dim=1)
    assert active_units(mean).item() == 1
    assert active_units(mean * 0.1).item() == 0  # a variance of 0.0034
