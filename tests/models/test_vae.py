import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal

from gen.config import override
from gen.phase import Shape
from gen.zoo import ZOO, tiny


def build(**settings):
    torch.manual_seed(0)
    return override(tiny(ZOO["vae_mlp"]), settings).model.build(Shape(1, 4)).double()


def test_learned_numbers_are_the_papers_sizes():
    assert ZOO["vae_mlp"].model.build(Shape(1, 28)).learned() == 1_079_600


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_loss_is_distortion_and_beta_times_rate_and_the_bound_ignores_beta(beta, play):
    model = build(**{"model.beta": beta})
    loss, logs = model.loss(play.batch(model, size=4))
    torch.testing.assert_close(loss, logs["distortion"] + beta * logs["rate"])
    torch.testing.assert_close(logs["bound"], logs["distortion"] + logs["rate"])


def test_the_bound_is_below_the_likelihood_and_importance_weights_tighten_it(play):
    """The negative ELBO, averaged over noise, bounds -log p(x), which many samples from the posterior estimate."""
    model = build(**{"model.latent": 2})
    image = play.batch(model, 1, 4)["image"]
    many = image.expand(20_000, -1, -1, -1)
    torch.manual_seed(1)
    with torch.no_grad():
        terms = model.bound_terms({"image": many})
        bound = (terms["distortion"] + terms["rate"]).mean()
        mean, log_variance = model.posterior(image)
        posterior = Normal(mean, (log_variance / 2).exp())
        latent = posterior.sample((20_000,)).squeeze(1)
        grey = (image.flatten(1) + 1) / 2
        joint = Normal(0, 1).log_prob(latent).sum(1)
        joint = joint + Bernoulli(logits=model.decoder(latent), validate_args=False).log_prob(grey).sum(1)
        evidence = (joint - posterior.log_prob(latent).sum(1)).logsumexp(0) - math.log(20_000)
        one_sample = -(joint - posterior.log_prob(latent).sum(1)).mean()
    assert bound >= -evidence - 1e-3
    torch.testing.assert_close(bound, one_sample, rtol=1e-3, atol=1e-3)


def test_reconstructions_use_the_posterior_mean(play):
    model = build().eval()
    batch = play.batch(model, size=4)
    assert torch.equal(model.reconstruct(batch)["image"], model.reconstruct(batch)["image"])
    assert not torch.equal(model.imitate(batch)["image"], model.imitate(batch)["image"])
