import math

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from gen.capabilities import Conditional, Decodes, Encodes, Fits, ImportanceWeighted, Interpolates, has
from gen.config import flat, override
from gen.models.vae import VAE, Dense
from gen.objectives.likelihoods import FIT_DRAWS, FixedVariance, Gaussian
from gen.phase import Shape
from gen.zoo import ZOO, tiny


def build(entry="vae_mlp", shape=None, **settings):
    torch.manual_seed(0)
    config = override(tiny(ZOO[entry]), settings)
    return config.model.build(shape or Shape(1, config.data.size or 4, 10)).double()


def linear(before, after):
    return before * after + after


DEEP = linear(784, 400) + linear(400, 400) * 2 + 2 * linear(400, 15) + linear(15, 400) + linear(400, 400) * 2
DEEP += linear(400, 784)


@pytest.mark.parametrize(
    ("entry", "shape", "count"),
    [
        ("vae_mlp", Shape(1, 28, 10), 1_079_600),
        ("vae_deep", Shape(1, 28, 10), DEEP),
        ("beta_vae", Shape(1, 28, 10), DEEP),
        ("cvae", Shape(1, 28, 10), DEEP + 2 * 10 * 400),  # the label's ten numbers join both first layers
        ("vae_conv", Shape(3, 64), 4_348_547),
        ("vae_conv_bn", Shape(3, 64), 2_364_515),
        ("vae_conv_bn", Shape(1, 64), 2_363_361),
    ],
)
def test_learned_numbers_are_the_issues(entry, shape, count):
    assert ZOO[entry].model.build(shape).count_learned() == count


@pytest.mark.parametrize("entry", [entry for entry, config in ZOO.items() if isinstance(config.model, VAE.Config)])
def test_every_entry_is_an_autoencoder_with_all_its_capabilities_and_conditional_where_its_settings_say_so(entry):
    model, conditioned = build(entry), flat(ZOO[entry])["model.conditioning"] != "none"
    for capability in (ImportanceWeighted, Interpolates, Decodes, Encodes, Fits):
        assert has(model, capability)
    assert has(model, Conditional) == conditioned
    assert model.needs == {"image"} | ({"label"} if conditioned else set())


def test_entries_are_values_of_one_class():
    assert override(ZOO["vae_deep"].model, {"conditioning": "one_hot"}) == ZOO["cvae"].model
    assert override(ZOO["vae_deep"].model, {"beta": 4}) == ZOO["beta_vae"].model


@pytest.mark.parametrize(
    ("entry", "shape", "message"),
    [
        ("vae_conv", Shape(3, 32), r"size=32 .* data.size=64"),
        ("vae_conv_bn", Shape(3, 28), r"size=28 must be a multiple of 16.*data.size=64"),
        ("vae_conv_bn", Shape(3, 8), r"size=8 must be a multiple of 16"),
        ("cvae", Shape(1, 8), r"classes=0: a conditional model needs a data set with labels"),
    ],
)
def test_images_that_do_not_fit_are_refused(entry, shape, message):
    with pytest.raises(ValueError, match=message):
        build(entry, shape)


@pytest.mark.parametrize("entry", ["vae_conv", "vae_conv_bn"])
def test_labels_join_flattened_images_only(entry):
    with pytest.raises(ValueError, match=r"^model.conditioning=one_hot .*; allowed: model.networks=dense"):
        build(entry, **{"model.conditioning": "one_hot"})


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_loss_is_distortion_and_beta_times_rate_and_the_bound_ignores_beta(beta, play):
    model = build(**{"model.beta": beta})
    loss, logs = model.loss(play.batch(model, size=4))
    torch.testing.assert_close(loss, logs["distortion"] + beta * logs["rate"])
    torch.testing.assert_close(logs["bound"], logs["distortion"] + logs["rate"])
    assert logs["least_rate"] <= logs["rate"] / 3 <= logs["largest_rate"]  # three units


def test_a_collapsed_posterior_has_no_active_units(play):
    model = build()
    batch = play.batch(model, size=4)
    assert model.loss(batch)[1]["active_units"].item() <= 3
    last = model.encoder[-1]
    last.weight.data.zero_()
    assert model.loss(batch)[1]["active_units"].item() == 0
    last.weight.data.normal_(std=10)
    assert model.loss(batch)[1]["active_units"].item() == 3


def test_the_bound_is_below_the_likelihood_and_importance_weights_tighten_it(play):
    """The negative ELBO, averaged over noise, bounds -log p(x), which many samples from the posterior estimate."""
    model = build(**{"model.latent": 2})
    image = play.batch(model, 1, 4)["image"]
    many = image.expand(20_000, -1, -1, -1)
    torch.manual_seed(1)
    with torch.no_grad():
        terms = model.bound_terms({"image": many})
        bound = (terms["distortion"] + terms["rate"]).mean()
        mean, log_variance = model.latent_posterior({"image": image})
        posterior = Normal(mean, (log_variance / 2).exp())
        latent = posterior.sample((20_000,)).squeeze(1)
        grey = (image.flatten(1) + 1) / 2
        joint = Normal(0, 1).log_prob(latent).sum(1)
        joint = joint + Bernoulli(logits=model.decoder(latent), validate_args=False).log_prob(grey).sum(1)
        evidence = (joint - posterior.log_prob(latent).sum(1)).logsumexp(0) - math.log(20_000)
        one_sample = -(joint - posterior.log_prob(latent).sum(1)).mean()
        weights = model.log_weights({"image": many})
    assert bound >= -evidence - 1e-3
    torch.testing.assert_close(bound, one_sample, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(weights.mean(), -bound, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(weights.logsumexp(0) - math.log(20_000), evidence, rtol=1e-3, atol=1e-3)


def test_importance_weights_of_a_linear_gaussian_model_give_its_exact_evidence():
    """x = W z + c + noise: p(x) is a Gaussian, and so is the posterior; with it in the encoder's place every weight is
    log p(x), with a wider one their mean tends to it."""
    config = VAE.Config(2, networks=Dense(width=2, depth=1), likelihood=Gaussian(FixedVariance(0.5)))
    torch.manual_seed(0)
    model = config.build(Shape(1, 2)).double()
    W, c = torch.randn(4, 2, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    model.decoder = affine(W, c)
    image = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    marginal = MultivariateNormal(c, W @ W.T + 0.25 * torch.eye(4, dtype=torch.float64))
    model.likelihood.log_variance.fill_(math.log(0.25))  # the config's, without the round-off of float32
    evidence = marginal.log_prob(image.flatten(1))  # (3,)
    # W may be turned so that the posterior's covariance is diagonal: the class has no other
    _, turn = torch.linalg.eigh(W.T @ W)
    W = W @ turn
    model.decoder = affine(W, c)
    covariance = torch.linalg.inv(torch.eye(2, dtype=torch.float64) + W.T @ W / 0.25)
    torch.testing.assert_close(covariance, covariance.diagonal().diag(), atol=1e-12, rtol=0)
    gain = covariance @ W.T / 0.25  # (2, 4)
    for widening, exact in ((0.0, True), (0.5, False)):
        log_variance = covariance.diagonal().log() + widening
        model.encoder = affine(
            torch.cat([gain, torch.zeros(2, 4, dtype=torch.float64)]), torch.cat([-gain @ c, log_variance])
        )
        with torch.no_grad():
            weights = torch.stack([model.log_weights({"image": image}) for _ in range(4_000)])  # (n, 3)
            bound = sum(model.bound_terms({"image": image}).values())
        if exact:
            torch.testing.assert_close(weights, evidence.expand_as(weights), rtol=1e-9, atol=1e-9)
        share = (weights - evidence).exp()  # of mean 1
        error = share.mean(0) - 1
        assert (error.abs() <= 4 * share.std(0) / math.sqrt(len(share)) + 1e-9).all()
        assert bound.shape == (3,)


def affine(weight, bias):
    layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
    layer.weight.data.copy_(weight)
    layer.bias.data.copy_(bias)
    return layer


def test_reconstructions_use_the_posterior_mean(play):
    model = build().eval()
    batch = play.batch(model, size=4)
    assert torch.equal(model.reconstruct(batch)["image"], model.reconstruct(batch)["image"])
    assert not torch.equal(model.imitate(batch)["image"], model.imitate(batch)["image"])


@pytest.mark.parametrize("entry", ["vae_mlp", "cvae"])
def test_a_line_between_latents_begins_and_ends_at_the_reconstructions(entry, play):
    model = build(entry).eval()
    batch = play.batch(model, 5, size=4)
    lines = model.interpolate(batch, 4)
    assert lines.shape == (2, 4, 1, 4, 4)
    made = model.reconstruct(batch)["image"]
    torch.testing.assert_close(lines[:, 0], made[0:4:2])
    torch.testing.assert_close(lines[:, -1], made[1:4:2])
    assert (lines[:, 1] - lines[:, 2]).abs().max() > 0


def test_the_label_changes_what_a_conditional_model_draws_and_encodes(play):
    model = build("cvae").eval()
    batch = play.batch(model, size=4)
    other = {**batch, "label": (batch["label"] + 1) % 10}
    latents = torch.zeros(8, 3, dtype=torch.float64)
    assert torch.equal(model.decode_latents(latents, batch), model.decode_latents(latents, dict(batch)))
    images, others = model.decode_latents(latents, batch), model.decode_latents(latents, other)
    torch.testing.assert_close(images[1:], others[:-1])  # only the label tells them apart
    assert (images - others).abs().amax((1, 2, 3)).min() > 0
    assert (model.latent_posterior(batch)[0] - model.latent_posterior(other)[0]).abs().sum(1).min() > 0


def test_the_variance_of_a_gaussian_is_set_from_the_data_and_moves_no_more(play):
    model = build("vae_conv_bn")
    assert model.likelihood.log_variance == 0  # a variance of 1
    asked = []

    def draw(number):
        asked.append(number)
        return {"image": torch.full((4, 1, 2, 2), 0.2 if number % 2 else -0.2, dtype=torch.float64)}

    model.fit(draw)
    assert asked == list(range(FIT_DRAWS))
    count = FIT_DRAWS * 16
    expected = math.log(0.04 * count / (count - 1))
    torch.testing.assert_close(model.likelihood.log_variance, torch.tensor(expected, dtype=torch.float64))
    assert "likelihood.log_variance" in model.state_dict()
    phase = model.phases()[0]
    play.step(model, phase, phase.optimizer.build(phase.player.parameters()), play.batch(model, size=32))
    torch.testing.assert_close(model.likelihood.log_variance, torch.tensor(expected, dtype=torch.float64))


def test_a_model_without_a_fitted_part_asks_for_no_images():
    build().fit(lambda number: pytest.fail("it drew"))
