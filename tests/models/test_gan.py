import pytest
import torch

from gen.config import override
from gen.objectives.adversarial import LeastSquares, Wasserstein
from gen.objectives.penalties import NoPenalty, OneCentred
from gen.phase import Shape
from gen.zoo import ZOO, tiny


def build(name="gan_mlp", **settings):
    torch.manual_seed(0)
    return override(tiny(ZOO[name]), settings).model.build(Shape(1, 8)).double()


@pytest.mark.parametrize("name", ["gan_mlp", "lsgan_mlp", "wgan_gp_mlp"])
def test_learned_numbers_are_the_issues(name):
    model = ZOO[name].model.build(Shape(1, 28))
    assert sum(parameter.numel() for parameter in model.generator.parameters()) == 1_952_528
    assert sum(parameter.numel() for parameter in model.critic.parameters()) == 267_009
    assert model.count_learned() == 1_952_528 + 267_009


def test_entries_are_values_of_one_class():
    gan, lsgan, wgan = (ZOO[name].model for name in ("gan_mlp", "lsgan_mlp", "wgan_gp_mlp"))
    assert type(gan) is type(lsgan) is type(wgan)
    assert lsgan.objective == LeastSquares(a=0, b=1, c=1)
    assert wgan.objective == Wasserstein()
    assert (wgan.penalty, wgan.repeats) == (OneCentred(10), 5)
    assert gan.penalty == lsgan.penalty == NoPenalty()
    assert override(gan, {"objective": "least_squares"}) == lsgan
    assert [phase.repeats for phase in wgan.build(Shape(1, 8)).phases()] == [5, 1]
    for optimizer in (wgan.generator_optimizer, wgan.critic_optimizer):
        assert (optimizer.rate, optimizer.beta1, optimizer.beta2) == (1e-4, 0.0, 0.9)
    for optimizer in (gan.generator_optimizer, gan.critic_optimizer):
        assert (optimizer.rate, optimizer.beta1, optimizer.beta2) == (1e-3, 0.5, 0.999)


def test_fakes_are_made_of_the_prepared_latents_once_a_draw(play):
    model = build()
    batch = play.batch(model)
    assert batch["latent"].shape == (8, 3)
    assert torch.equal(batch["fake"], model.generator(batch["latent"]))
    assert not batch["fake"].requires_grad
    assert not torch.equal(play.batch(model, seed=1)["latent"], batch["latent"])


@pytest.mark.parametrize(("noise", "mean_square", "largest"), [("uniform", 1 / 3, 1.0), ("normal", 1.0, 6.0)])
def test_noise(noise, mean_square, largest):
    latent = build(**{"model.noise": noise, "model.latent": 64}).latents(torch.zeros(2000, 1, 8, 8))
    assert latent.mean().item() == pytest.approx(0, abs=0.02)
    assert latent.square().mean().item() == pytest.approx(mean_square, rel=0.03)
    assert latent.abs().max() <= largest


def test_the_last_bias_of_a_wasserstein_critic_is_listed_and_only_there():
    assert build().unmoved == {}
    unmoved = build("wgan_gp_mlp", **{"model.networks.depth": 3}).unmoved
    assert list(unmoved) == ["critic.7.bias"]
    assert isinstance(build("wgan_gp_mlp", **{"model.networks.depth": 3}).critic[7], torch.nn.Linear)


def test_penalty_is_weighed_by_lambda_and_left_out_where_there_is_none(play):
    weighed = build("wgan_gp_mlp")
    batch = play.batch(weighed)
    loss, logs = weighed.critic_loss(batch)
    torch.testing.assert_close(loss, logs["fake"] - logs["real"] + 10 * logs["penalty"])
    loss, logs = build("wgan_gp_mlp", **{"model.penalty": "none"}).critic_loss(batch)
    assert "penalty" not in logs
    torch.testing.assert_close(loss, logs["fake"] - logs["real"])


def test_a_generators_step_raises_what_the_critic_says_of_its_fakes(play):
    model = build(**{"model.generator_optimizer.rate": 1e-4})
    generator = model.phases()[1]
    optimizer, batch = generator.optimizer.build(generator.player.parameters()), play.batch(model)
    before = model.generator_loss(batch)[1]["fake"].item()
    play.step(model, generator, optimizer, batch)
    assert model.generator_loss(batch)[1]["fake"].item() > before


@pytest.mark.parametrize("count", [2, 5])
def test_a_line_between_two_drawn_latents_holds_their_fakes_at_its_ends(count):
    model = tiny(ZOO["gan_mlp"]).model.build(Shape(1, 8)).eval().requires_grad_(False)
    batch = {"image": torch.zeros(count, 1, 8, 8)}
    torch.manual_seed(1)
    lines = model.interpolate(batch, 10)
    assert lines.shape == (count // 2, 10, 1, 8, 8)
    torch.manual_seed(1)
    latents = model.latents(batch["image"])[: count // 2 * 2]
    torch.testing.assert_close(lines[:, 0], model.generator(latents[0::2]))
    torch.testing.assert_close(lines[:, 9], model.generator(latents[1::2]))
    torch.testing.assert_close(lines[:, 3], model.generator(latents[0::2] * 2 / 3 + latents[1::2] / 3))
