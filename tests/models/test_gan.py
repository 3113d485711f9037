import copy
import itertools

import pytest
import torch

from gen.config import override
from gen.models.gan import great_circle
from gen.nets.labelled import GameConditioning
from gen.nets.norms import Norm
from gen.objectives.adversarial import LeastSquares, Objective, Wasserstein
from gen.objectives.penalties import NoPenalty, OneCentred, Penalty
from gen.phase import Shape
from gen.zoo import ZOO, tiny


def build(name="gan_mlp", shape=Shape(1, 8), **settings):  # noqa: B008 - a frozen value
    torch.manual_seed(0)
    return override(tiny(ZOO[name]), settings).model.build(shape).double()


MLP, DCGAN, NO_NORM = (1_952_528, 267_009), (3_576_704, 2_765_568), 2_764_737
COUNTS = {  # numbers of the generator and of the critic
    **dict.fromkeys(("gan_mlp", "lsgan_mlp", "wgan_gp_mlp"), MLP),
    "gan_mlp_small": (218_128, 100_609),
    "dcgan_28": (6_675_009, 1_102_721),
    **dict.fromkeys(("dcgan", "lsgan", "dragan", "wgan"), DCGAN),
    "wgan_gp": (3_576_704 + 28 * 512 * 16, NO_NORM),  # 28 more latents; biases in place of BatchNorm
    "hinge": (3_576_704, NO_NORM),
    "cdcgan": (3_576_704 + 10 * 512 * 16, 2_765_568 + 10 * 64 * 16),  # ten labels join the latent and the image
    "cwgan_gp": (3_576_704 + 38 * 512 * 16, NO_NORM + 10 * 64 * 16),
}


@pytest.mark.parametrize("name", [name for name in ZOO if ZOO[name].family == "gan"])
def test_learned_numbers_are_the_published_ones(name):
    """On 28 x 28 grey images, or 64 x 64 in colour."""
    with torch.device("meta"):
        model = ZOO[name].model.build(Shape(3, 64, 10) if ZOO[name].data.size == 64 else Shape(1, 28, 10))
    assert (numbers(model.generator), numbers(model.critic)) == COUNTS[name]
    assert model.count_learned() == sum(COUNTS[name])


def numbers(network):
    return sum(parameter.numel() for parameter in network.parameters())


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


NETWORKS = {"mlp": 8, "dcgan": 16, "dcgan_28": 16}  # kind -> pixels a side
SMALL = {"model.latent": 3, "model.networks.generator_width": 4, "model.networks.critic_width": 4}


@pytest.mark.slow
@pytest.mark.parametrize("conditioning", GameConditioning.kinds)
@pytest.mark.parametrize("norm", Norm.kinds)
@pytest.mark.parametrize("networks", NETWORKS)
def test_any_objective_with_any_network_penalty_norm_and_conditioning(networks, norm, conditioning, play):
    """Two updates of each player, from the settings of a command line."""
    chosen = {"model.networks": networks, **SMALL, "model.conditioning": conditioning}
    chosen |= {f"model.networks.{player}_norm": norm for player in ("generator", "critic")}
    size, tried = NETWORKS[networks], 0
    for objective, penalty in itertools.product(Objective.kinds, Penalty.kinds):
        config = override(ZOO["gan_mlp"], {**chosen, "model.objective": objective, "model.penalty": penalty})
        torch.manual_seed(0)
        model = config.model.build(Shape(1, size, 10))
        before = copy.deepcopy(dict(model.named_parameters()))
        phases = [(phase, phase.optimizer.build(phase.player.parameters())) for phase in model.phases()]
        for number in range(2):
            for phase, optimizer in phases:
                play.step(model, phase, optimizer, play.batch(model, size=size, count=3, seed=number))
        after = dict(model.named_parameters())
        assert all(value.isfinite().all() for value in after.values()), (objective, penalty)
        moved = {name.partition(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
        assert {"generator", "critic"} <= moved, (objective, penalty)
        tried += 1
    assert tried == 30


def test_weights_are_clipped_after_each_move_of_the_critic(play):
    model = build("wgan", Shape(1, 16), **{"model.critic_optimizer.rate": 0.1})
    critic, _ = model.phases()
    play.step(model, critic, critic.optimizer.build(critic.player.parameters()), play.batch(model, size=16))
    assert max(weight.abs().max().item() for weight in critic.player.parameters()) == pytest.approx(0.01)


def test_the_power_method_moves_once_a_step_of_the_critic(play):
    model = build("hinge", Shape(1, 16))
    critic, generator = model.phases()
    batch, before = play.batch(model, size=16), copy.deepcopy(dict(model.named_buffers()))
    play.step(model, generator, generator.optimizer.build(generator.player.parameters()), batch)
    still = {name for name, value in model.named_buffers() if name.endswith(("left", "right"))}
    assert still
    assert all(torch.equal(dict(model.named_buffers())[name], before[name]) for name in still)
    play.step(model, critic, critic.optimizer.build(critic.player.parameters()), batch)
    moved = {name for name, value in model.named_buffers() if not torch.equal(value, before[name])}
    assert {name for name in still if name.endswith("right")} <= moved


@pytest.mark.parametrize("together", [False, True])
def test_real_images_and_fakes_share_a_batch_only_if_asked(together, play):
    """BatchNorm makes the outputs for images depend on the fakes beside them."""
    model = build("dcgan", Shape(1, 16), **{"model.together": together})
    batch = play.batch(model, size=16)
    phase = model.phases()[0]
    phase.player.train()
    one, other = (model.critic_loss({**batch, "fake": fake})[1]["real"] for fake in (batch["fake"], batch["fake"] * 0))
    assert torch.equal(one, other) != together


def test_conditional_fakes_are_of_their_labels_and_a_line_has_one():
    model = build("cdcgan", Shape(1, 16, 10)).eval().requires_grad_(False)
    image = torch.zeros(4, 1, 16, 16, dtype=torch.float64)
    labels = torch.tensor([3, 5, 1, 1])
    torch.manual_seed(1)
    lines = model.interpolate({"image": image, "label": labels}, 5)
    torch.manual_seed(1)
    latents = model.latents(image)
    ends = model.generate(latents[1::2], {"label": labels[0::2]})  # the label of the line's first row
    torch.testing.assert_close(lines[:, 4], ends)


def test_a_spherical_walk_keeps_the_length_of_normal_latents():
    torch.manual_seed(0)
    first, second = torch.randn(2, 3, 1, 500, dtype=torch.float64)
    share = torch.linspace(0, 1, 7, dtype=torch.float64).view(1, -1, 1)
    line = great_circle(first, second, share)
    torch.testing.assert_close(line[:, :1], first)
    torch.testing.assert_close(line[:, -1:], second)
    lengths = line.norm(dim=2)
    ends = torch.cat([first.norm(dim=2), second.norm(dim=2)], 1)  # (P, 2)
    assert (lengths >= 0.97 * ends.amin(1, keepdim=True)).all()
    assert (lengths <= 1.03 * ends.amax(1, keepdim=True)).all()
    straight = torch.lerp(first, second, share).norm(dim=2)
    assert (straight[:, 3] < 0.8 * ends.amin(1)).all()  # which a straight line does not
    assert torch.isfinite(great_circle(first, first, share)).all()


def test_what_a_player_counts_and_learns_moves_with_it(play):
    """The count of moves by which noise fades, and the vectors of labels: nobody else's move touches them."""
    settings = {"model.augmentation.noise": 0.1, "model.conditioning": "embedding"}
    model = build("cdcgan", Shape(1, 16, 10), **settings)
    batch, of_player = play.batch(model, size=16), {}
    for phase in model.phases():
        before = copy.deepcopy(model.state_dict())
        play.step(model, phase, phase.optimizer.build(phase.player.parameters()), batch)
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        of_player[phase.name] = {
            name.partition(".")[0] for name in moved if "running" not in name and "num_" not in name
        }
        inside = {id(value) for value in phase.player.state_dict(keep_vars=True).values()}
        assert all(id(value) in inside for name, value in model.state_dict(keep_vars=True).items() if name in moved)
    assert of_player == {"critic": {"critic", "reading", "augmenter"}, "generator": {"generator", "joiner"}}
