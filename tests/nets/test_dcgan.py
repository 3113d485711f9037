"""The convolutional pairs: sizes, starts, and the settings that change how they grow and shrink."""

import pytest
import torch
from torch import nn

from gen.nets.dcgan import DCGAN, DCGAN28, AlwaysDropout
from gen.phase import Shape


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("upsampling", ["transposed", "pixel_shuffle"])
@pytest.mark.parametrize("downsampling", ["strided", "average"])
def test_any_power_of_two_by_its_depth(size, upsampling, downsampling):
    config = DCGAN(generator_width=2, critic_width=2, upsampling=upsampling, downsampling=downsampling)
    generator, critic = config.build(Shape(3, size), 5, planes=2)
    fake = generator(torch.randn(2, 5))
    assert fake.shape == (2, 3, size, size)
    assert fake.abs().max() <= 1
    assert critic(torch.cat([fake, fake[:, :2]], 1)).shape == (2, 1)
    layers = [layer for layer in generator if isinstance(layer, (nn.ConvTranspose2d, nn.Conv2d))]
    assert len(layers) == size.bit_length() - 2  # 64: five
    kinds = {nn.AvgPool2d} if downsampling == "average" else set()
    assert kinds == {type(layer) for layer in critic if isinstance(layer, nn.AvgPool2d)}


@pytest.mark.parametrize("size", [16, 28, 32])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_the_networks_for_mnist_take_multiples_of_four(size, pooling):
    generator, critic = DCGAN28(generator_width=2, critic_width=2, pooling=pooling).build(Shape(1, size), 5)
    assert critic(generator(torch.randn(2, 5))).shape == (2, 1)


@pytest.mark.parametrize(("kind", "sizes"), [(DCGAN, (8, 28, 48)), (DCGAN28, (8, 18))])
def test_other_sizes_are_refused(kind, sizes):
    for size in sizes:
        with pytest.raises(ValueError, match=rf"^data.size={size}: .*; allowed: "):
            kind().build(Shape(1, size), 5)


def test_weights_begin_as_published():
    """Section 4 of DCGAN: N(0, 0.02), and gains of BatchNorm N(1, 0.02)."""
    torch.manual_seed(0)
    for network in DCGAN().build(Shape(3, 64), 100):
        weights = torch.cat([p.flatten() for p in network.parameters() if p.dim() > 1])
        assert weights.mean().item() == pytest.approx(0, abs=1e-4)
        assert weights.std().item() == pytest.approx(0.02, rel=0.01)
        gains = torch.cat([part.weight for part in network.modules() if isinstance(part, nn.BatchNorm2d)])
        assert gains.mean().item() == pytest.approx(1, abs=0.003)
        assert gains.std().item() == pytest.approx(0.02, rel=0.1)


def test_the_last_layer_is_the_papers_convolution_over_all_places():
    """A linear layer on 4 x 4 pixels and a convolution of 4 x 4 without padding are one thing."""
    _, critic = DCGAN(critic_width=2).build(Shape(1, 16), 5)
    features = nn.Sequential(*list(critic)[:-2]).eval()(torch.randn(3, 1, 16, 16))
    last = critic[-1]
    convolved = nn.functional.conv2d(features, last.weight.view(1, -1, 4, 4))
    torch.testing.assert_close(last(features.flatten(1)), convolved.flatten(1))


def test_dropout_is_on_when_images_are_sampled():
    generator, _ = DCGAN(generator_width=4, critic_width=4, dropout=0.5).build(Shape(1, 16), 5)
    assert sum(isinstance(layer, AlwaysDropout) for layer in generator) == 2
    generator.eval()
    latent = torch.randn(2, 5)
    assert not torch.equal(generator(latent), generator(latent))
    torch.manual_seed(1)
    zeros = AlwaysDropout(0.25).eval()(torch.ones(1000, 10))
    assert (zeros == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    assert zeros.max().item() == pytest.approx(4 / 3)
