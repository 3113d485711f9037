"""The importance-weighted bound against the exact evidence of a linear Gaussian model; bits against a code's length."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from gen.metrics.likelihood import bits_per_dimension, importance_bound

LATENT, PIXELS, NOISE = 2, 5, 0.4


class LinearGaussian:
    """z ~ N(0, 1), x = W z + b + noise: evidence and posterior in closed form (Tipping and Bishop 1999)."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(PIXELS, LATENT, generator=generator, dtype=torch.float64)
        self.shift = torch.randn(PIXELS, generator=generator, dtype=torch.float64)
        eye = torch.eye(PIXELS, dtype=torch.float64)
        self.evidence = MultivariateNormal(self.shift, self.weight @ self.weight.mT + NOISE**2 * eye)
        precision = torch.eye(LATENT, dtype=torch.float64) + self.weight.mT @ self.weight / NOISE**2
        self.posterior_covariance = precision.inverse()

    def posterior(self, images: Tensor, widened: float = 1.0) -> MultivariateNormal:
        """p(z | x) for images (B, PIXELS), or one of a wider covariance."""
        mean = (images - self.shift) @ self.weight @ self.posterior_covariance / NOISE**2
        return MultivariateNormal(mean, widened * self.posterior_covariance)

    def log_weights(self, images: Tensor, guide: MultivariateNormal) -> Tensor:
        latents = guide.sample()
        decoded = Normal(latents @ self.weight.mT + self.shift, NOISE)
        prior = Normal(torch.zeros_like(latents), 1.0)
        return decoded.log_prob(images).sum(1) + prior.log_prob(latents).sum(1) - guide.log_prob(latents)


@pytest.fixture
def model() -> LinearGaussian:
    torch.manual_seed(3)
    return LinearGaussian()


def test_the_exact_posterior_gives_the_exact_evidence(model: LinearGaussian) -> None:
    images = model.evidence.sample((20,))
    guide = model.posterior(images)
    for draws in (1, 3):
        found = importance_bound(model.log_weights(images, guide) for _ in range(draws))
        torch.testing.assert_close(found, model.evidence.log_prob(images), rtol=1e-10, atol=1e-10)


def test_between_the_elbo_and_the_evidence(model: LinearGaussian) -> None:
    """With a posterior twice too wide: the ELBO in closed form at one draw, and the evidence in the limit."""
    images = model.evidence.sample((4000,))
    guide, exact = model.posterior(images, widened=2.0), model.evidence.log_prob(images)
    gap = kl_divergence(guide, model.posterior(images))  # (B,)
    bounds = [importance_bound(model.log_weights(images, guide) for _ in range(draws)) for draws in (1, 5, 500)]
    below = [exact - bound for bound in bounds]
    means = [float(part.mean()) for part in below]
    errors = [float(part.std()) / math.sqrt(len(images)) for part in below]
    assert abs(means[0] - float(gap.mean())) < 4 * errors[0]
    assert means[0] > means[1] + 4 * errors[1] > means[1] > means[2] + 4 * errors[2]
    # To first order the gap is the weights' variance over 2 k (Domke and Sheldon 2018); here it is 1 / 3 a dimension.
    variance = (4 / 3) ** LATENT - 1
    assert abs(means[2] - variance / (2 * 500)) < 4 * errors[2]


def test_streamed_as_the_whole_and_safe_from_underflow() -> None:
    weights = torch.randn(64, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 30 - 1e5
    expected = weights.logsumexp(0) - math.log(64)
    torch.testing.assert_close(importance_bound(iter(weights)), expected, rtol=1e-12, atol=0)
    assert importance_bound([torch.zeros(3)]).dtype == torch.float64
    with pytest.raises(ValueError, match="at least 1 draw"):
        importance_bound([])


def test_bits_of_a_uniform_density_are_eight() -> None:
    """256 values 1 / 127.5 apart, each with as much mass as its cell: the interval is 256 / 127.5 long."""
    pixels = 12
    nats = pixels * math.log(256 / 127.5)
    assert bits_per_dimension(nats, pixels) == pytest.approx(8, rel=1e-12)
    assert bits_per_dimension(pixels * math.log(256), pixels, density=False) == pytest.approx(8, rel=1e-12)


def test_bits_of_a_wide_gaussian_are_its_values_code_length() -> None:
    values = (torch.arange(256, dtype=torch.float64) - 127.5) / 127.5
    density = Normal(torch.tensor(0.1, dtype=torch.float64), 0.3)
    cells = density.cdf(values + 1 / 255) - density.cdf(values - 1 / 255)
    found = bits_per_dimension(-density.log_prob(values), 1)
    near = (values - 0.1).abs() < 2 * 0.3  # where the density's curvature is at most 3 / 0.3^2 of it, so that over ...
    error = 3 / 0.3**2 * (1 / 127.5) ** 2 / 24 / math.log(2)  # ... a cell its mean is its middle but for that, in bits
    torch.testing.assert_close(found[near], -cells.log2()[near], rtol=0, atol=1.01 * error)
