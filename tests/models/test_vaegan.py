import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from gen.capabilities import Decodes, Encodes, Imitates, Interpolates, Likelihood, Plays, Reconstructs, has
from gen.config import override
from gen.nets.adversarial import hidden_ends
from gen.nets.pairs import Adversaries
from gen.objectives.adversarial import Objective
from gen.phase import Shape
from gen.zoo import ZOO, tiny
from tests.seams.house import data_of, exact, stepper

CROSS_ENTROPY = {"saturating", "non_saturating"}


def build(shape=Shape(1, 16), **settings):  # noqa: B008 - a frozen value
    torch.manual_seed(0)
    return override(tiny(ZOO["vaegan"]), settings).model.build(shape).double()


def numbers(network):
    return sum(parameter.numel() for parameter in network.parameters())


def linear(before, after, bias=True):
    return (before + bias) * after


def normed(*widths, places=25):
    """Convolutions without bias, each with BatchNorm."""
    return sum(places * before * after + 2 * after for before, after in pairwise(widths))


def test_networks_are_those_of_table_1():
    """On 64 x 64 in colour: 5 x 5 convolutions, 2048 units in the encoder, 512 in the critic."""
    with torch.device("meta"):
        model = ZOO["vaegan"].model.build(Shape(3, 64))
    places, latent = 8 * 8 * 256, 128
    encoder = normed(3, 64, 128, 256) + normed(places, 2048, places=1) + linear(2048, 2 * latent)
    decoder = normed(latent, places, places=1) + normed(256, 256, 128, 32) + linear(25 * 32, 3)
    critic = linear(25 * 3, 32) + normed(32, 128, 256, 256) + normed(places, 512, places=1) + linear(512, 1)
    assert (numbers(model.encoder), numbers(model.decoder), numbers(model.critic)) == (encoder, decoder, critic)
    assert model.count_learned() == encoder + decoder + critic


def test_settings_are_the_papers():
    config = ZOO["vaegan"]
    assert (config.model.beta, config.model.repeats, config.train.batch) == (1, 1, 64)
    for player in ("encoder", "decoder", "critic"):
        optimizer = getattr(config.model, f"{player}_optimizer")
        assert (type(optimizer).__name__, optimizer.rate) == ("RMSprop", 3e-4)
    model = build(**{"model.repeats": 3})
    assert [(phase.name, phase.repeats) for phase in model.phases()] == [("encoder", 1), ("decoder", 1), ("critic", 3)]
    assert {id(phase.player) for phase in model.phases()} == {id(model.encoder), id(model.decoder), id(model.critic)}


def test_it_bounds_no_likelihood_of_images():
    model = build()
    assert all(has(model, one) for one in (Imitates, Reconstructs, Interpolates, Encodes, Decodes, Plays))
    assert not has(model, Likelihood)


def by_hand(model, batch):
    """L_prior, L_llike, and the critic's logits of images, reconstructions and fakes, as numpy has them. The networks
    are in evaluation mode, so each image is by itself."""
    array = {}
    for name, image in (("x", batch["image"]), ("r", batch["reconstruction"]), ("f", batch["fake"])):
        layers, kept = list(model.critic), image
        for number, layer in enumerate(layers, 1):
            kept = layer(kept)
            if number == model.end:
                array[f"features of {name}"] = kept.flatten(1).numpy()
        array[name] = kept.numpy()
    mean, log_variance = (half.numpy() for half in model.encoder(batch["image"]).chunk(2, 1))
    prior = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(1).mean()
    density = 0.5 * ((array["features of x"] - array["features of r"]) ** 2).sum(1).mean()
    return prior, density, array["x"], array["r"], array["f"]


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("objective", sorted(CROSS_ENTROPY))
def test_losses_are_the_equations(objective, play):
    model = build(**{"model.beta": 0.5, "model.gamma": 0.25, "model.layer": 3, "model.objective": objective})
    batch = play.batch(model, size=16)
    with torch.no_grad():
        prior, density, real, reconstruction, fake = by_hand(model, batch)
        losses = {phase.name: phase.loss(batch) for phase in model.phases()}
    assert losses["encoder"][0].item() == pytest.approx(0.5 * prior + density)
    assert losses["encoder"][1]["rate"].item() == pytest.approx(prior)
    assert losses["encoder"][1]["distortion"].item() == pytest.approx(density)
    game = np.log(sigmoid(real)).mean()
    game += np.log(1 - sigmoid(reconstruction)).mean() + np.log(1 - sigmoid(fake)).mean()  # eq. 10
    assert losses["critic"][0].item() == pytest.approx(-game)
    if objective == "saturating":
        wanted = np.log(1 - sigmoid(reconstruction)).mean() + np.log(1 - sigmoid(fake)).mean()
    else:
        wanted = -np.log(sigmoid(reconstruction)).mean() - np.log(sigmoid(fake)).mean()
    assert losses["decoder"][0].item() == pytest.approx(0.25 * density + wanted)
    accuracy = ((real > 0).mean() + (np.concatenate([reconstruction, fake]) <= 0).mean()) / 2
    assert losses["critic"][1]["accuracy"].item() == pytest.approx(accuracy)


def test_what_is_prepared_is_drawn_around_the_posterior_and_from_the_prior(play):
    model = build()
    batch = play.batch(model, size=16)
    with torch.no_grad():
        mean, log_variance = model.latent_posterior(batch)
        torch.testing.assert_close(batch["latent"], mean + (log_variance / 2).exp() * batch["noise"])
        torch.testing.assert_close(batch["reconstruction"], model.decoder(batch["latent"]))
        torch.testing.assert_close(batch["fake"], model.decoder(batch["prior"]))
    many = play.batch(model, 400, 16)
    for name in ("noise", "prior"):
        assert many[name].mean().item() == pytest.approx(0, abs=0.1)
        assert many[name].std().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("together", [False, True])
def test_a_step_is_the_papers_update_of_all_players_at_once(together):
    """Algorithm 1: every player descends its gradient at the weights with which the step began."""
    settings = {"model.gamma": 0.1, "model.together": together}
    steps = stepper(exact("vaegan", 1, **settings), data_of("vaegan"))
    drawn = steps._draw(0)
    with torch.enable_grad():
        expected = at_once(copy.deepcopy(steps.model).requires_grad_(True), drawn[0], gamma=0.1)
    found = {}
    for number, phase in enumerate(steps.phases):
        before = copy.deepcopy(phase.player.state_dict())
        with steps.freezer.thawing(number) as parameters:
            steps._move(number, 0, parameters, drawn)
            found |= {f"{phase.name}.{name}": one.grad for name, one in phase.player.named_parameters()}
        assert any(not torch.equal(one, before[name]) for name, one in phase.player.named_parameters())
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-10, msg=name)


def at_once(model, batch, gamma):
    """The gradients of algorithm 1, from one pass of everything; BatchNorm by the batch, as while it trains."""
    config, image, noise = model.config, batch["image"], batch["noise"]

    def apply(network, *groups):
        return network(torch.cat(groups)).chunk(len(groups)) if config.together else [network(one) for one in groups]

    mean, log_variance = model.encoder(image).chunk(2, 1)
    latent = mean + torch.exp(log_variance / 2) * noise
    reconstruction, fake = apply(model.decoder, latent, batch["prior"])
    features = apply(model.critic[: model.end], image, reconstruction, fake)
    of_image, of_reconstruction, _ = (one.flatten(1) for one in features)
    real, again, made = apply(model.critic[model.end :], *features)
    density = -torch.distributions.Normal(of_reconstruction, 1.0).log_prob(of_image).sum(1).mean()  # eq. 7
    posterior = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    prior = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()  # eq. 4
    log_d, log_not = torch.nn.functional.logsigmoid, lambda logits: torch.nn.functional.logsigmoid(-logits)
    game = (log_d(real) + log_not(again) + log_not(made)).mean()  # eq. 10
    fools = -(log_d(again) + log_d(made)).mean() if config.objective == Objective.kinds["non_saturating"]() else game
    losses = {"encoder": prior + density, "decoder": gamma * density + fools, "critic": -game}
    found = {}
    for player, loss in losses.items():
        names, parameters = zip(*getattr(model, player).named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        found |= {f"{player}.{name}": gradient for name, gradient in zip(names, gradients, strict=True)}
    return found


@pytest.mark.parametrize("networks", Adversaries.kinds)
def test_the_layer_is_counted_back_from_the_critics_last(networks, play):
    """The critic is cut behind a ReLU, and the two halves are the critic."""
    settings, layer = {"model.networks": networks}, 1
    for width in ("generator_width", "critic_width"):
        settings[f"model.networks.{width}"] = 4
    seen = []
    while True:
        try:
            model = build(**settings, **{"model.layer": layer})
        except ValueError as error:
            assert f"allowed: model.layer from 1 to {layer - 1}" in str(error)  # noqa: PT017
            break
        batch = play.batch(model, size=16)
        with torch.no_grad():
            features = model.features(batch["image"], batch["reconstruction"], batch["fake"])
            torch.testing.assert_close(model.outputs(features)[0], model.critic(batch["image"]))
        seen.append(features[0][0].numel())
        assert features[0].min() >= -2 or networks == "mlp"
        linears = [part for part in model.critic[model.end :] if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d))]
        assert len(linears) == layer, "so many layers follow as the number says"
        layer += 1
    assert len(seen) == len(hidden_ends(model.critic)) >= 2


def test_the_encoder_s_loss_is_a_sum_over_the_values_of_its_layer():
    model = build()
    (features,) = model.features(torch.zeros(2, 1, 16, 16, dtype=torch.float64))
    assert model.sums == {"encoder": features[0].numel()}


@pytest.mark.parametrize("objective", Objective.kinds)
def test_the_critic_is_balanced_under_every_objective(objective, play):
    """A constant added to all outputs lowers no loss for ever, and the watch knows an ignorant critic's loss."""
    model = build(**{"model.objective": objective})
    real, reconstruction, fake = torch.randn(3, 8, 1, dtype=torch.float64)
    far = [model.game(real + shift, reconstruction + shift, fake + shift).item() for shift in (-1e3, 0, 1e3)]
    ends = 0 if objective == "wasserstein" else 1
    assert min(far[0], far[2]) - far[1] >= ends * 900 - 1e-6
    assert set(model.unmoved) == ({f"critic.{len(model.critic) - 1}.bias"} if objective == "wasserstein" else set())
    if objective == "wasserstein":
        assert model.scales == {}
    elif objective in CROSS_ENTROPY:
        assert model.scales == {"critic/loss": (0, pytest.approx(3 * math.log(2)))}
    else:
        least, ignorant = model.scales["critic/loss"]
        assert least == 0 < ignorant


@pytest.mark.parametrize("together", [False, True])
def test_images_reconstructions_and_fakes_share_batches_only_if_asked(together, play):
    model = build(**{"model.together": together})
    batch = play.batch(model, size=16)
    model.train()
    with torch.no_grad():
        one, other = (
            model.features(batch["image"], made, batch["fake"])[0] for made in (batch["fake"], batch["image"] * 0)
        )
        first, second = (model.apply_to(model.decoder, batch["latent"], prior)[0] for prior in batch_of_priors(batch))
    assert torch.equal(one, other) != together
    assert torch.equal(first, second) != together


def batch_of_priors(batch):
    return batch["prior"], batch["prior"] * 2


def test_reconstructions_use_the_posterior_mean_and_lines_end_at_them(play):
    model = build().eval()
    batch = play.batch(model, 5, size=16)
    with torch.no_grad():
        made, lines = model.reconstruct(batch)["image"], model.interpolate(batch, 4)
        torch.testing.assert_close(made, model.decoder(model.latent_posterior(batch)[0]))
        assert not torch.equal(model.imitate(batch)["image"], model.imitate(batch)["image"])
    assert lines.shape == (2, 4, 1, 16, 16)
    torch.testing.assert_close(lines[:, 0], made[0:4:2])
    torch.testing.assert_close(lines[:, -1], made[1:4:2])


def test_the_power_method_of_a_player_moves_with_it(play):
    norms = {f"model.networks.{player}_norm": "spectral" for player in ("generator", "critic")}
    model = build(**norms)
    batch = play.batch(model, size=16)
    for phase in model.phases():
        before = copy.deepcopy(dict(model.named_buffers()))
        play.step(model, phase, phase.optimizer.build(phase.player.parameters()), batch)
        moved = {name.partition(".")[0] for name, one in model.named_buffers() if not torch.equal(one, before[name])}
        assert moved == {phase.name}
    assert not hasattr(model.encoder[-1], "parametrizations"), "latents are not bounded"


@pytest.mark.parametrize("networks", Adversaries.kinds)
def test_any_networks_give_an_encoder_of_their_own(networks):
    model = build(**{"model.networks": networks, "model.networks.critic_width": 4})
    assert model.encoder[-1].out_features == 2 * model.latent_size
    inside = {id(parameter) for parameter in model.encoder.parameters()}
    assert not any(id(parameter) in inside for parameter in model.critic.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.layer": 6}, r"^model.layer=6: this critic has 5 hidden layers; allowed: model.layer from 1 to 5$"),
        ({"model.layer": 0}, r"^model.layer=0 is out of range; allowed: at least 1"),
        ({"model.gamma": -1}, r"^model.gamma=-1 is out of range"),
        ({"model.beta": -1}, r"^model.beta=-1 is out of range"),
        ({"model.repeats": 0}, r"^model.repeats=0 is out of range"),
    ],
)
def test_settings_that_a_user_gets_wrong(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
