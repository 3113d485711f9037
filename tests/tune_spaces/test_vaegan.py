"""The space of VAE-GAN."""

import pytest
import torch

from gen.config import flat, override
from gen.phase import Shape
from gen.zoo import ZOO
from tune_spaces import draw, space_for

SEARCHED = ("gamma", "beta", "layer", "latent", "repeats")


def draws(config, count=100):
    space = space_for(config)
    return [draw(space, 0, index) for index in range(count)]


def test_weights_layer_steps_and_each_players_rate_are_searched():
    drawn = draws(ZOO["vaegan"])
    for key in SEARCHED:
        assert len({one[f"model.{key}"] for one in drawn}) > 1, key
    for player in ("encoder", "decoder", "critic"):
        assert len({one[f"model.{player}_optimizer.rate"] for one in drawn}) == len(drawn)
    own = flat(ZOO["vaegan"])
    assert min(one["model.gamma"] for one in drawn) < own["model.gamma"] < max(one["model.gamma"] for one in drawn)


@pytest.mark.parametrize(
    "networks", [("larsen", 16), ("dcgan", 32), ("dcgan_28", 28), ("mlp", 8)], ids=lambda one: one[0]
)
def test_every_layer_that_is_drawn_is_there(networks):
    kind, size = networks
    config = override(ZOO["vaegan"], {"model.networks": kind})
    for layer in {one["model.layer"]: one for one in draws(config)}.values():
        with torch.device("meta"):
            override(config, layer).model.build(Shape(1, size))
