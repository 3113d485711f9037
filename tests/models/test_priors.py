"""The priors over the codes of a frozen VQ-VAE."""

import math

import pytest
import torch
from sklearn.mixture import GaussianMixture

from gen.capabilities import Conditional, Decodes, Interpolates, Quantises, TwoStage, has
from gen.config import StageOne, on_stage, override
from gen.phase import Shape
from gen.zoo import ZOO, tiny

PRIORS = ("vqvae_gmm", "vqvae_vae", "vqvae_pixelcnn")
SHAPE = Shape(1, 8)


def build(name, shape=SHAPE, **settings):
    torch.manual_seed(0)
    return override(tiny(ZOO[name]), settings).model.build(shape).double().eval()


def images(count, seed=0, size=8):
    torch.manual_seed(seed)
    return {"image": torch.rand(count, 1, size, size, dtype=torch.float64) * 2 - 1}


def spread(model, count=64):
    """Sets the codebook to encoder outputs, so that the codes of an untrained first stage differ."""
    vectors = model.first.encode(images(count, seed=1)["image"]).flatten(0, -2)
    book = model.first.codebook
    book.vectors.copy_(vectors[torch.randperm(len(vectors))[: len(book.vectors)]])
    return model


@pytest.mark.parametrize("name", PRIORS)
def test_a_column_of_codes_stands_for_the_images(name):
    model = spread(build(name)).requires_grad_(False)
    batch = images(6)
    codes = model.first.codes(batch)
    assert len(codes.unique()) > 1
    assert torch.equal(model.codes_of(batch), codes)
    cached = {"image": torch.zeros_like(batch["image"]), "codes": codes.to(torch.int16)}
    assert torch.equal(model.codes_of(cached), codes)
    for phase in model.phases():
        losses = []
        for one in (batch, cached):
            torch.manual_seed(3)
            losses.append(phase.loss(one)[0])
        assert losses[0] == losses[1]


@pytest.mark.parametrize("name", PRIORS)
def test_fakes_are_decoded_from_codes_of_the_book(name):
    """Each fake is exactly what the first stage makes of some grid of its codes."""
    model, seen = spread(build(name)), []
    decode = model.first.decode
    model.first.decode = lambda codes: seen.append(codes) or decode(codes)
    fakes = model.imitate(images(5))["image"]
    (codes,) = seen
    assert codes.shape == (5, 2, 2)
    assert 0 <= codes.min() <= codes.max() < model.first.codebook_size
    assert torch.equal(decode(codes), fakes)


@pytest.mark.parametrize("name", PRIORS)
def test_what_is_learned_is_the_prior_alone_and_it_has_no_codes_of_its_own(name):
    model = build(name)
    inside = sum(parameter.numel() for parameter in model.first.parameters())
    assert model.count_learned() > 0
    assert not has(model, Quantises)
    assert has(model, TwoStage)
    if model.phases():
        assert model.count_learned() == sum(parameter.numel() for parameter in model.parameters()) - inside
    assert all(name.startswith("first.") for name in model.unmoved)


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_without_a_first_stage_or_on_one_without_codes_is_refused(name):
    with pytest.raises(ValueError, match="--stage-one"):
        ZOO[name].model.build(SHAPE)
    wrong = on_stage(ZOO[name], StageOne("mine", "0123", "vae_mlp", "", "", tiny(ZOO["vae_mlp"]).model))
    with pytest.raises(ValueError, match=r"^run mine/0123 is of vae_mlp, which has no codes; .* of a VQ-VAE$"):
        wrong.model.build(SHAPE)


class Gridless(type(tiny(ZOO["vqvae"]).model)):
    """A first stage whose codes have no grid, as those of a VQ-VAE that reads channels as codes."""

    def build(self, shape):
        model = super().build(shape)
        codes, decode = model.codes, model.decode
        model.codes = lambda batch: codes(batch).flatten(1)
        model.decode = lambda given: decode(given.view(-1, shape.size // 4, shape.size // 4))
        return model


def test_codes_without_a_grid_suit_all_but_the_pixelcnn():
    stage = StageOne("mine", "0123", "vqvae_bn", "", "", Gridless(**vars(tiny(ZOO["vqvae"]).model)))
    for name in ("vqvae_gmm", "vqvae_vae"):
        model = on_stage(tiny(ZOO[name]), stage).model.build(SHAPE).eval()
        assert model.places == (4,)
        assert model.imitate({"image": torch.zeros(3, 1, 8, 8)})["image"].shape == (3, 1, 8, 8)
    with pytest.raises(
        ValueError, match=r"^a PixelCNN needs codes on a grid, those of vqvae_bn have none: use vqvae_gmm"
    ):
        on_stage(tiny(ZOO["vqvae_pixelcnn"]), stage).model.build(SHAPE)


def test_code_nats_are_the_mean_over_places_of_what_the_network_gives():
    model = spread(build("vqvae_pixelcnn"))
    batch = images(4)
    codes = model.first.codes(batch)
    logs = model.network(codes).log_softmax(1)
    expected = [-sum(logs[b, codes[b, i, j], i, j] for i in range(2) for j in range(2)) / 4 for b in range(4)]
    torch.testing.assert_close(model.code_nats(batch), torch.stack(expected))


def test_labels_condition_the_pixelcnn_where_there_are_any():
    free, tied = build("vqvae_pixelcnn"), build("vqvae_pixelcnn", Shape(1, 8, 3))
    assert not has(free, Conditional)
    assert has(tied, Conditional)
    assert (tied.classes, tied.needs) == (3, {"image", "label"})
    batch = images(4)
    nats = [tied.code_nats({**batch, "label": torch.full((4,), label)}) for label in range(3)]
    assert not torch.allclose(nats[0], nats[1])


def test_the_vae_s_distortion_is_at_the_likeliest_deviation_on_the_scale_that_it_fitted():
    model = spread(build("vqvae_vae"))
    latents = torch.cat([model.latents(images(8, seed=index)) for index in range(50)])
    model.fit(lambda index: images(8, seed=index))
    torch.testing.assert_close(model.mean, latents.mean())
    torch.testing.assert_close(model.scale, latents.std())
    batch = images(8)
    torch.manual_seed(2)
    _, logs = model.loss(batch)
    # distortion is -log N of the latents on that scale, by torch.distributions
    torch.manual_seed(2)
    target = (model.latents(batch) - model.mean) / model.scale
    mean, log_variance = model.posterior(target)
    z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
    output = model.decoder(z)
    distortions = [
        -torch.distributions.Normal(output, logs["deviation"] * factor).log_prob(target).sum(1).mean()
        for factor in (1.0, 0.99, 1.01)
    ]
    torch.testing.assert_close(logs["distortion"], distortions[0])
    assert distortions[0] < min(distortions[1:])


def test_the_vae_s_line_ends_at_the_images_it_leads_between():
    model = spread(build("vqvae_vae"))
    assert has(model, Interpolates)
    assert has(model, Decodes)
    batch = images(5)
    line = model.interpolate(batch, 4)
    assert line.shape == (2, 4, 1, 8, 8)
    mean, _ = model.posterior((model.latents(batch) - model.mean) / model.scale)
    for number, step in ((0, 0), (1, -1)):
        torch.testing.assert_close(line[:, step], model.decode_latents(mean[number:4:2], batch))


def clusters(model, count=400):
    """Draws of 50 latents of two clusters, in the place of the first stage's: what is fitted is then known."""
    torch.manual_seed(5)
    dimensions = math.prod(model.latent_shape)
    side = torch.randint(2, (count, 1)) * 2 - 1
    latents = side * torch.linspace(1, 2, dimensions) + torch.randn(count, dimensions) / 4
    model.latents = lambda batch: batch["latents"]
    return lambda index: {"latents": latents[index * 50 % count : index * 50 % count + 50].double()}


def test_the_mixture_has_the_moments_of_its_points_and_is_what_scikit_learn_samples():
    model = build("vqvae_gmm", **{"model.points": 400, "model.pca": 256, "model.floor": 1e-9})
    draw = clusters(model)
    points = torch.cat([draw(index)["latents"] for index in range(8)])
    torch.manual_seed(0)
    model.fit(draw)
    seen = []
    model.decode_nearest = lambda latents: seen.append(latents) or torch.zeros(len(latents), 1, 8, 8)
    count = 40_000
    model.imitate({"image": torch.zeros(count, 1, 8, 8)})
    drawn = seen[0]
    # expectation-maximisation matches the mean and the covariance of its points exactly at each step
    error = (points.var(0) / count).sqrt()
    assert ((drawn.mean(0) - points.mean(0)).abs() < 5 * error).all()
    torch.testing.assert_close(drawn.T.cov(), points.T.cov(correction=0), rtol=0.05, atol=0.05)
    torch.testing.assert_close(model.weights.sum(), torch.ones((), dtype=torch.float64))
    # the two clusters are two components
    assert len(model.weights) == 2
    ends = model.centre + model.means @ model.basis
    assert (ends[0] * ends[1] < 0).all()


def test_the_mixture_s_density_is_scikit_learn_s():
    """Its buffers, read as a mixture of torch.distributions, give the points the likelihood of scikit-learn's fit."""
    model = build("vqvae_gmm", **{"model.points": 400})
    draw = clusters(model)
    points = torch.cat([draw(index)["latents"] for index in range(8)])
    torch.manual_seed(0)
    model.fit(draw)
    scale = model.basis.norm(dim=1)
    assert torch.allclose(scale, scale[0])
    reduced = (points - model.centre) @ (model.basis / scale[0]).T / scale[0]
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(model.weights),
        torch.distributions.MultivariateNormal(model.means, scale_tril=model.factors),
    )
    again = GaussianMixture(2, reg_covar=model.config.floor, random_state=1).fit(reduced.numpy())
    assert mixture.log_prob(reduced).mean().item() == pytest.approx(again.score(reduced.numpy()), abs=0.01)


def test_a_set_smaller_than_the_points_comes_round_again():
    model = spread(build("vqvae_gmm", **{"model.points": 100}))
    asked = []
    model.fit(lambda index: asked.append(index) or images(8, seed=index % 3))
    assert asked == list(range(13))
    assert all(buffer.isfinite().all() for buffer in model.buffers())
