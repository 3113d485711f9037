"""What holds for every entry of the zoo: a new one gets these for free."""

import copy
import json

import pytest
import torch

from gen.config import flat, override
from gen.data.columns import is_image
from gen.phase import Model, Shape
from gen.zoo import ZOO, entry, tiny
from tests.fixtures.variants import chosen, named
from tests.models.contracts import check

ENTRIES = sorted(ZOO)


def size_of(name, size=8):
    return tiny(ZOO[name]).data.size or size


def build(name, shape=None, **settings) -> Model:
    torch.manual_seed(0)
    return override(tiny(ZOO[name]), settings).model.build(shape or Shape(1, size_of(name), 10))


def largest(gradients):
    return max(float(gradient.abs().max()) for gradient in gradients.values() if gradient is not None)


@pytest.mark.parametrize("name", ENTRIES)
def test_every_parameter_of_the_player_has_a_gradient_and_none_else(name, play):
    model = build(name).double()
    for phase in model.phases():
        gradients = play.gradients(model, phase, play.batch(model, size=size_of(name)))
        own = play.names(model, phase.player)
        zero = 1e-13 * largest(gradients)  # round-off in float64: what BatchNorm cancels is not zero exactly
        moved = {key for key, gradient in gradients.items() if gradient is not None and gradient.abs().max() > zero}
        assert {key for key, gradient in gradients.items() if gradient is not None} <= own
        assert moved == own - set(model.unmoved)


@pytest.mark.parametrize("name", ENTRIES)
def test_over_ten_steps_every_parameter_moves_but_for_those_listed(name, play):
    model = build(name).double()
    before, phases = copy.deepcopy(dict(model.named_parameters())), model.phases()
    optimizers = [phase.optimizer.build(phase.player.parameters()) for phase in phases]
    for number in range(10):
        for phase, optimizer in zip(phases, optimizers, strict=True):
            play.step(model, phase, optimizer, play.batch(model, size=size_of(name), seed=number))
    still = {key for key, parameter in model.named_parameters() if torch.equal(parameter, before[key])}
    assert still <= set(model.unmoved)  # Adam makes steps of round-off
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", ENTRIES)
def test_log_names_are_constant_and_their_values_scalars_without_host_work(name, play):
    model = build(name)
    for phase in model.phases():
        logs = [phase.loss(play.batch(model, size=size_of(name), seed=seed))[1] for seed in range(2)]
        assert list(logs[0]) == list(logs[1])
        assert all(value.shape == () for value in logs[0].values())
        assert "loss" not in logs[0]  # the engine's own


@pytest.mark.parametrize("name", ENTRIES)
def test_noise_comes_from_the_default_generator_alone(name, play):
    model = build(name).eval()
    for phase in model.phases():
        batch = play.batch(model, size=size_of(name))
        losses = []
        for _ in range(2):
            torch.manual_seed(7)
            losses.append(phase.loss(batch)[0].item())
        assert losses[0] == losses[1]


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 12)])
def test_capabilities_keep_their_contracts(name, channels, size, play):
    shape = Shape(channels, size_of(name, size), 10)
    model = build(name, shape).eval()
    assert check(model, play.batch(model, 5, shape.size, shape.channels))


@pytest.mark.parametrize("name", ENTRIES)
def test_bf16_autocast_gives_float32_losses_near_the_exact_ones(name, play):
    model = build(name)
    for phase in model.phases():
        batch, losses = play.batch(model, size=size_of(name)), []
        for enabled in (False, True):
            torch.manual_seed(5)
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                losses.append(phase.loss(batch)[0])
        assert losses[1].dtype == torch.float32
        torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=0.02)


@pytest.mark.parametrize("name", ENTRIES)
def test_what_it_needs_is_enough_and_evaluating_changes_no_buffer(name, play):
    model = build(name).eval()
    assert any(is_image(column) for column in model.needs)
    before = copy.deepcopy(model.state_dict())
    columns = play.batch(model, size=size_of(name))
    check(model, {column: columns[column] for column in sorted(model.needs)})
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), chosen(ZOO), ids=named)
def test_every_kind_of_every_variant_trains_or_says_what_does(name, settings, play):
    config, refused = tiny(override(ZOO[name], settings)), []
    for size in (8, 32, 64):
        torch.manual_seed(0)
        try:
            model = config.model.build(Shape(1, size, 10)).double()
            break
        except ValueError as error:
            refused.append(str(error))
    else:
        assert all("allowed: model." in message for message in refused), "the kinds do not go together at any size"
        return
    assert all("data.size=" in message for message in refused)
    for phase in model.phases():
        batch = play.batch(model, size=size)
        gradients = play.gradients(model, phase, batch)
        zero = 1e-13 * largest(gradients)
        moved = {key for key, gradient in gradients.items() if gradient is not None and gradient.abs().max() > zero}
        own, unmoved = play.names(model, phase.player), set(model.unmoved)
        assert own - moved <= unmoved
        if settings.get("model.objective") != "hinge":  # whose last bias moves once an output is beyond the margins
            assert moved == own - unmoved
        play.step(model, phase, phase.optimizer.build(phase.player.parameters()), batch)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", ENTRIES)
def test_config_is_plain_data_and_its_settings_come_back(name):
    config = ZOO[name]
    model = {key: value for key, value in flat(config).items() if key.startswith("model.")}
    assert override(config, json.loads(json.dumps(model))) == config
    assert config.entry == name == entry(name).entry


def test_unknown_entry_names_the_nearest():
    with pytest.raises(ValueError, match=r"unknown entry 'vae_mpl'; nearest valid: vae_mlp"):
        entry("vae_mpl")
    with pytest.raises(ValueError, match=r"wgan_gp_mlp"):
        entry("???")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("vae_mlp", {"model.beta": "-1"}, r"^model.beta=-1 is out of range; allowed: at least 0"),
        ("vae_mlp", {"model.networks.width": 2}, r"^model.networks.width=2 is out of range"),
        ("gan_mlp", {"model.noise": "pink"}, r"^model.noise='pink'.*uniform, normal"),
        ("gan_mlp", {"model.objective.a": 0}, r"^model.objective.a is a setting of least_squares, and model.objective"),
        ("lsgan_mlp", {"model.objective.d": 0}, r"nearest valid: .*model.objective"),
        ("vae_mlp", {"model.likelihood": "mse"}, r"^model.likelihood='mse'.*bernoulli, gaussian"),
        (
            "vae_deep",
            {"model.likelihood": "gaussian", "model.likelihood.variance": "mine"},
            r"^model.likelihood.variance='mine'.*data, shared, pixel",
        ),
        ("vqvae", {"model.codebook.codes": 1}, r"^model.codebook.codes=1 is out of range"),
        ("vqvae", {"model.codebook.update": "sgd"}, r"^model.codebook.update='sgd'.*ema, loss"),
    ],
)
def test_settings_that_a_user_gets_wrong(name, settings, message):
    with pytest.raises(ValueError, match=message):
        override(ZOO[name], settings)
