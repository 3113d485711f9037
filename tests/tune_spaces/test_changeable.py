"""What a population may change: nothing but how the next step moves the weights."""

from dataclasses import replace

import pytest
import torch
from ray import tune

from gen.config import RunConfig, TwoStageConfig, flat, override
from gen.phase import Shape
from gen.zoo import ZOO, tiny
from tune_spaces import Space, space_for
from tune_spaces.changeable import changeable, only_changeable, searched

GAMES = [name for name, config in ZOO.items() if config.family == "gan"]


def other(config: RunConfig, key: str) -> RunConfig:
    """The config with another value of a setting."""
    before = flat(config)[key]
    return override(config, {key: before * 0.8 if before else 0.5})


@pytest.mark.parametrize("name", [name for name, one in ZOO.items() if not isinstance(one.model, TwoStageConfig)])
def test_no_weight_and_no_draw_changes(name: str) -> None:
    config = tiny(ZOO[name])
    shape = Shape(3 if config.family in ("cyclegan", "vaegan") else 1, config.data.size or 8, 10)
    with torch.device("meta"):
        model = config.model.build(shape)
        keys = changeable(config)
        assert keys
        for key in keys:
            changed = other(config, key)
            assert changed != config
            twin = changed.model.build(shape)
            shapes = [{name: part.shape for name, part in one.state_dict().items()} for one in (model, twin)]
            assert shapes[0] == shapes[1], key
            for phase, own in zip(twin.phases(), model.phases(), strict=True):
                assert (phase.name, phase.repeats, phase.optimizer.kinds) == (
                    own.name,
                    own.repeats,
                    own.optimizer.kinds,
                )
                assert type(phase.optimizer) is type(own.optimizer)
            assert changed.data == config.data
            assert replace(changed.train, clip=0.0) == replace(config.train, clip=0.0)


@pytest.mark.parametrize("name", GAMES)
def test_the_spaces_of_games_have_something_for_a_population(name: str) -> None:
    config = ZOO[name]
    space, left = only_changeable(space_for(config), ())
    assert {"model.generator_optimizer.rate", "model.critic_optimizer.rate"} <= space.keys.keys()
    assert "model.latent" in left
    assert not {"model.latent", "model.repeats", "model.networks.generator_width"} & space.keys.keys()
    assert set(searched(space, config)) <= set(changeable(config))


def test_objectives_that_are_drawn_together_stay_together() -> None:
    space, _ = only_changeable(space_for(ZOO["lsgan"]), ())
    assert "model.objective" in space.keys
    assert searched(space, ZOO["lsgan"]).items() >= {"model.objective.a": 0.0, "model.objective.b": 1.0}.items()
    assert space.tied == {
        f"model.critic_optimizer.{beta}": f"model.generator_optimizer.{beta}" for beta in ("beta1", "beta2")
    }
    games, left = only_changeable(space_for(ZOO["dcgan"]), ())
    assert "model" in left  # objective and penalty, whose kinds cannot change
    assert "model.generator_optimizer.beta1" in games.keys


def test_what_cannot_change_is_refused_by_name() -> None:
    config = ZOO["wgan_gp_mlp"]
    with pytest.raises(ValueError, match=r"search model.latent: .*; allowed: .*model.penalty.weight, .*train.clip"):
        only_changeable(space_for(config), {"model.latent": "8,16"})
    nothing = Space(config, {"model.latent": tune.choice([8, 16])}, metric="")
    with pytest.raises(ValueError, match="a population of wgan_gp_mlp has nothing to search; say --search KEY=V1,V2"):
        only_changeable(nothing, ())
