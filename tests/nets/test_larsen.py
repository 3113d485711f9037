"""The networks of VAE-GAN's paper."""

import pytest
import torch
from torch import nn

from gen.nets.adversarial import Perceptrons, hidden_ends, last_of
from gen.nets.dcgan import DCGAN, DCGAN28
from gen.nets.larsen import Larsen
from gen.phase import Shape


@pytest.mark.parametrize("size", [16, 24, 32, 64])
@pytest.mark.parametrize("upsampling", ["transposed", "pixel_shuffle"])
def test_any_multiple_of_eight(size, upsampling):
    config = Larsen(generator_width=2, critic_width=2, upsampling=upsampling, dropout=0.1)
    generator, critic = config.build(Shape(3, size), 5, planes=2)
    fake = generator(torch.randn(2, 5))
    assert fake.shape == (2, 3, size, size)
    assert fake.abs().max() <= 1
    assert critic(torch.cat([fake, fake[:, :2]], 1)).shape == (2, 1)
    assert config.encoder(Shape(3, size), 7)(fake).shape == (2, 7)


@pytest.mark.parametrize("size", [8, 20, 28])
def test_other_sizes_are_refused(size):
    for make in (lambda: Larsen().build(Shape(1, size), 5), lambda: Larsen().encoder(Shape(1, size), 5)):
        with pytest.raises(ValueError, match=rf"^data.size={size}: .*; allowed: multiples of 8 from 16"):
            make()


def test_the_critics_first_layer_has_no_norm_and_all_others_have():
    _, critic = Larsen().build(Shape(3, 64), 5)
    kinds = [type(part) for part in critic]
    assert kinds == [nn.Conv2d, nn.ReLU, *[nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 3, nn.Flatten, *DENSE, nn.Linear]
    assert [type(part) for part in Larsen().encoder(Shape(3, 64), 5)] == [*kinds[2:11], *kinds[11:]]
    leaky = Larsen(slope=0.2).encoder(Shape(3, 16), 5)
    assert {part.negative_slope for part in leaky if isinstance(part, nn.LeakyReLU)} == {0.2}


DENSE = [nn.Linear, nn.BatchNorm1d, nn.ReLU]


@pytest.mark.parametrize(
    "config", [Larsen(), DCGAN(), DCGAN28(), Perceptrons(depth=3)], ids=lambda one: type(one).__name__
)
def test_hidden_layers_of_every_critic_end_with_a_relu(config):
    _, critic = config.build(Shape(1, 16), 5)
    layers = [part for part in critic if isinstance(part, (nn.Conv2d, nn.Linear))]
    assert len(hidden_ends(critic)) == len(layers) - 1
    assert last_of(critic) is layers[-1]
