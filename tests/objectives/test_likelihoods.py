import math

import pytest
import torch
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Normal

from gen.objectives.likelihoods import (
    FIT_DRAWS,
    Bernoulli,
    DataVariance,
    Density,
    Distortion,
    Gaussian,
    PixelVariance,
    SharedVariance,
    SquaredError,
    Variance,
    bernoulli,
    gaussian,
    softly_above,
    squared_error,
    unit_gaussian,
)

GAUSSIANS = [Gaussian(kind()) for kind in Variance.kinds.values()]
ALL = [*(kind() for kind in Distortion.kinds.values() if kind is not Gaussian), *GAUSSIANS, Gaussian(tanh=True)]


def test_bernoulli_is_the_negative_log_likelihood_summed_over_pixels():
    logits = torch.randn(5, 12, dtype=torch.float64)
    bits = torch.randint(2, (5, 3, 2, 2)).double()
    expected = -BernoulliDistribution(logits=logits).log_prob(bits.flatten(1)).sum(1)
    torch.testing.assert_close(bernoulli(logits, bits * 2 - 1), expected)


def test_bernoulli_of_grey_values_is_least_at_their_own_mean():
    image = torch.rand(4, 1, 3, 3, dtype=torch.float64) * 1.8 - 0.9
    logits = torch.logit((image + 1) / 2).requires_grad_()
    (slope,) = torch.autograd.grad(bernoulli(logits, image).sum(), logits)
    torch.testing.assert_close(slope, torch.zeros_like(slope))
    torch.testing.assert_close(Bernoulli().build().mean(logits.detach()), image)


@pytest.mark.parametrize("shape", [(), (5, 12)])
def test_gaussian_is_the_negative_log_density_on_the_scale_of_the_image(shape):
    mean, log_variance = torch.randn(5, 12, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    image = torch.rand(5, 3, 2, 2, dtype=torch.float64) * 2 - 1
    expected = -Normal(mean, (log_variance / 2).exp()).log_prob(image.flatten(1)).sum(1)
    torch.testing.assert_close(gaussian(mean, log_variance, image), expected)


def test_a_gaussian_of_variance_one_is_its_density_but_for_the_constant():
    mean, value = torch.randn(2, 5, 3, 2, 2, dtype=torch.float64)
    constant = 12 * math.log(2 * math.pi) / 2
    torch.testing.assert_close(unit_gaussian(mean, value) + constant, gaussian(mean, torch.zeros(()), value))


@pytest.mark.parametrize(
    "function",
    [bernoulli, squared_error, lambda output, image: gaussian(*output.chunk(2, 1), image[:, :1])],
    ids=["bernoulli", "squared_error", "gaussian"],
)
def test_gradients_agree_with_finite_differences(function):
    output = torch.randn(2, 8, dtype=torch.float64, requires_grad=True)
    image = torch.rand(2, 2, 2, 2, dtype=torch.float64) * 2 - 1
    assert torch.autograd.gradcheck(lambda x: function(x, image), (output,))


def test_squared_error_is_on_the_scale_of_half_and_its_mean_inverts_it():
    image = torch.rand(4, 3, 2, 2) * 2 - 1
    torch.testing.assert_close(squared_error(image / 2, image), torch.zeros(4))
    torch.testing.assert_close(squared_error(image / 2 + 0.1, image), torch.full((4,), 12 * 0.01))
    torch.testing.assert_close(SquaredError().build().mean(image / 2), image)
    assert SquaredError().build().mean(torch.tensor([-3.0, 3.0])).tolist() == [-1, 1]


def test_what_is_soft_stays_above_and_is_itself_far_from_the_least():
    values = torch.linspace(-50, 50, 101, dtype=torch.float64)
    bent = softly_above(-10.0, values)
    assert (bent >= -10).all()
    assert (bent.diff() > 0).all() or (bent.diff() >= 0).all()
    torch.testing.assert_close(bent[-20:], values[-20:])


@pytest.mark.parametrize("config", ALL, ids=str)
@pytest.mark.parametrize("flattened", [False, True])
def test_all_take_images_or_rows_lift_low_precision_and_keep_double(config, flattened):
    likelihood, image = config.build(), torch.rand(2, 3, 4, 4) * 2 - 1
    output = torch.randn(2, 3 * likelihood.numbers, 4, 4)
    output = output.flatten(1) if flattened else output
    mean = likelihood.mean(output)
    assert mean.shape == (image.flatten(1) if flattened else image).shape
    assert mean.abs().max() <= 1
    with torch.autocast("cpu", torch.bfloat16):
        low = likelihood.distortion(output.bfloat16(), image)
    assert (low.dtype, low.shape) == (torch.float32, (2,))
    assert likelihood.double().distortion(output.double(), image.double()).dtype == torch.float64


def test_the_decoders_mean_comes_before_its_log_variances():
    likelihood = Gaussian(PixelVariance()).build()
    image = torch.zeros(1, 3, 2, 2)
    output = torch.cat([torch.full((1, 3, 2, 2), 0.5), torch.full((1, 3, 2, 2), 1.0)], dim=1)
    torch.testing.assert_close(likelihood.mean(output), torch.full((1, 3, 2, 2), 0.5))
    expected = gaussian(output[:, :3], torch.tensor(1.0), image)
    torch.testing.assert_close(likelihood.distortion(output, image), expected, rtol=1e-4, atol=0)


def test_a_learned_variance_finds_the_mean_squared_error():
    """Rybkin et al. 2021, eq. 5: the best shared variance is the mean squared error."""
    likelihood = Gaussian(SharedVariance()).build().double()
    image = torch.rand(50, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    output = torch.zeros_like(image)
    optimizer = torch.optim.LBFGS(likelihood.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = likelihood.distortion(output, image).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = likelihood.parts(output)[1].exp()
    torch.testing.assert_close(found, image.square().mean(), rtol=1e-4, atol=0)


def test_a_fitted_variance_is_that_of_the_pixels_and_never_zero():
    likelihood = Gaussian(DataVariance()).build().double()
    draws = [torch.rand(3, 1, 4, 4, dtype=torch.float64) for _ in range(FIT_DRAWS)]
    likelihood.fit(lambda number: {"image": draws[number]})
    torch.testing.assert_close(likelihood.log_variance.exp(), torch.cat(draws).var())
    likelihood.fit(lambda number: {"image": torch.zeros(1, 1, 2, 2)})
    assert likelihood.log_variance.item() == pytest.approx(2 * math.log(0.005))


def test_densities_are_named():
    """Bounds under two of a name compare; under others they do not."""
    names = {"bernoulli": [Bernoulli()], "mse": [SquaredError()], "gaussian": [*GAUSSIANS, Gaussian(tanh=True)]}
    for name, configs in names.items():
        assert {config.build().density for config in configs} == {name}


def test_a_density_is_a_distortion_in_nats():
    assert Density.kinds.items() < Distortion.kinds.items()
    for kind in Distortion.kinds.values():
        assert kind.in_nats == issubclass(kind, Density)


@pytest.mark.parametrize("variance", Variance.kinds.values())
def test_a_variance_out_of_range_is_refused(variance):
    (name,) = vars(variance())
    with pytest.raises(ValueError, match=rf"^{name}=0 is out of range; allowed: at least"):
        variance(0.0)
