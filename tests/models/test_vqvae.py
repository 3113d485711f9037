import math

import pytest
import torch

from gen.capabilities import Likelihood, has
from gen.config import override
from gen.objectives.likelihoods import Variance
from gen.phase import MicroBatch, Shape
from gen.zoo import ZOO, tiny

SMALL = Shape(1, 8)


def build(shape=SMALL, **settings):
    torch.manual_seed(0)
    return override(tiny(ZOO["vqvae"]), settings).model.build(shape).double()


@pytest.mark.parametrize("update", ["ema", "loss"])
@pytest.mark.parametrize(("shape", "count"), [(Shape(1, 28), 691_393), (Shape(3, 32), 695_491)])
def test_learned_numbers_hold_the_codebook_however_it_learns(update, shape, count):
    config = override(ZOO["vqvae"], {"model.codebook.update": update})
    assert config.model.build(shape).count_learned() == count


@pytest.mark.parametrize(("codes", "count"), [(64, 342_451), (128, 343_475), (256, 345_523)])
def test_learned_numbers_of_the_one_with_batchnorm(codes, count):
    config = override(ZOO["vqvae_bn"], {"model.codebook.codes": codes})
    assert config.model.build(Shape(3, 64)).count_learned() == count


def test_each_channels_map_is_a_code_and_they_have_no_grid(play):
    torch.manual_seed(0)
    model = ZOO["vqvae_bn"].model.build(Shape(3, 64)).double().eval()
    batch = play.batch(model, 2, 64, 3)
    features = model.encoder[0](batch["image"])  # (B, 128, 4, 4)
    vectors = model.encode(batch["image"])
    assert vectors.shape == (2, 128, 16)
    torch.testing.assert_close(vectors[1, 7], features[1, 7].flatten())
    assert model.codes(batch).shape == (2, 128)
    assert torch.equal(model.decode(model.codes(batch)), model.reconstruct(batch)["image"])


@pytest.mark.parametrize(("size", "dimensions"), [(32, 16), (64, 64), (60, 16), (8, 16)])
def test_maps_that_are_no_codes_are_refused(size, dimensions):
    config = override(ZOO["vqvae_bn"], {"model.codebook.dimensions": dimensions})
    with pytest.raises(
        ValueError, match=rf"size={size} .*dimensions={dimensions} is not allowed.*data.size=64 with 16"
    ):
        config.model.build(Shape(3, size))


@pytest.mark.parametrize(
    "likelihood",
    [{"likelihood": "bernoulli"}]
    + [{"likelihood": "gaussian", "likelihood.variance": variance} for variance in Variance.kinds],
    ids=lambda likelihood: "-".join(likelihood.values()),
)
def test_a_likelihood_gives_a_bound_whose_rate_is_log_k_a_code(likelihood, play):
    model = build(**{f"model.{key}": kind for key, kind in likelihood.items()}).eval()
    assert has(model, Likelihood)
    assert not has(build(), Likelihood)
    batch = play.batch(model)
    terms = model.bound_terms(batch)
    torch.testing.assert_close(terms["rate"], torch.full((8,), 4 * math.log(8)))  # 2 x 2 places, 8 codes
    loss, logs = model.loss(batch)
    torch.testing.assert_close(loss, terms["distortion"].mean() / 64 + 0.25 * logs["commitment"])
    assert model.reconstruct(batch)["image"].shape == (8, 1, 8, 8)


def test_sizes_that_cannot_be_quartered_are_refused():
    with pytest.raises(ValueError, match=r"size=30 must be a multiple of 4"):
        build(Shape(1, 30))


@pytest.mark.parametrize(("update", "terms"), [("ema", 0.25), ("loss", 1.25)])
def test_loss_is_the_sum_of_its_terms(update, terms, play):
    """The commitment and the codebook's loss have one value, and gradients on either side of it."""
    model = build(**{"model.codebook.update": update})
    loss, logs = model.loss(play.batch(model))
    torch.testing.assert_close(loss, logs["mse"] + terms * logs["commitment"])


def test_the_decoders_gradient_passes_straight_through_to_the_encoder(play):
    model = build(**{"model.beta": 0})
    gradients = play.gradients(model, model.phases()[0], play.batch(model))
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())


def test_sums_are_added_to_in_training_with_a_micro_batch_only(play):
    model = build()
    batch = play.batch(model)
    model.loss(batch)  # in evaluation
    model.train().loss(batch)  # statistics of averaged weights
    assert not any(buffer.any() for buffer in model.codebook.sums)
    model.micro_batch = MicroBatch(0, 1)
    model.loss(batch)
    assert model.codebook.counts.sum() == 8 * 2 * 2
    torch.testing.assert_close(
        model.codebook.totals.sum(0), model.encode(batch["image"]).flatten(0, 2).sum(0), msg="all are counted"
    )


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_it_learns_a_few_patterns_with_as_many_codes(update, play):
    """Four constant images: enough codes for each, so that reconstruction must become near exact."""
    model = build(**{"model.codebook.update": update, "model.optimizer.rate": 3e-3, "model.networks.hidden": 16})
    phase = model.phases()[0]
    optimizer = phase.optimizer.build(phase.player.parameters())
    shades = torch.tensor([-0.9, -0.3, 0.3, 0.9], dtype=torch.float64).repeat(4).view(16, 1, 1, 1)
    batch = {"image": shades.expand(16, 1, 8, 8)}
    for number in range(300):
        torch.manual_seed(number)
        play.step(model, phase, optimizer, batch)
    error = (model.reconstruct(batch)["image"] - batch["image"]).square().mean()
    assert error < 0.01  # the images' variance is 0.45
    assert model.codes(batch).unique().numel() >= 4


def test_codes_decode_to_the_reconstruction(play):
    model = build().eval()
    batch = play.batch(model)
    assert torch.equal(model.decode(model.codes(batch)), model.reconstruct(batch)["image"])


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_its_vectors_are_what_its_codes_stand_for(update):
    config = override(tiny(ZOO["vqvae"]), {"model.codebook.update": update})
    model = config.model.build(Shape(1, 8)).eval().requires_grad_(False)
    codes = model.codes({"image": torch.rand(5, 1, 8, 8) * 2 - 1})
    vectors = model.code_vectors()
    assert vectors.shape == (model.codebook_size, 4)
    assert torch.equal(vectors[codes], model.codebook.look_up(codes))
