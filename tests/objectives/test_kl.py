import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Independent, Normal, kl_divergence

from gen.objectives.kl import kl_to_standard_normal


@given(seed=st.integers(0, 2**31), size=st.integers(1, 20))
def test_agrees_with_the_closed_form_of_torch_distributions(seed, size):
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, 3, size, generator=generator, dtype=torch.float64) * 3
    posterior = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), kl_divergence(posterior, prior))


def test_is_zero_at_the_prior_only():
    assert kl_to_standard_normal(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0, 0]
    assert (kl_to_standard_normal(torch.full((1, 3), 0.1), torch.zeros(1, 3)) > 0).all()
