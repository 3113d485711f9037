import itertools

import numpy as np
import pytest
import torch
from torch import nn

from gen.nets import classifiers, generators
from gen.nets.classifiers import Noise
from gen.nets.weight_norm import WeightNorm, standardise, weighted
from gen.phase import Shape

MNIST = Shape(1, 28, 10)
LAYERS = [
    (lambda: nn.Linear(5, 3, bias=False), (4, 5), (1,), 0),
    (lambda: nn.Conv2d(2, 3, 3, bias=False), (4, 2, 5, 5), (1, 2, 3), 0),
    (lambda: nn.ConvTranspose2d(2, 3, 3, bias=False), (4, 2, 5, 5), (0, 2, 3), 1),
]


@pytest.mark.parametrize(("layer", "shape", "others", "outputs"), LAYERS)
def test_weights_are_a_direction_of_a_length(layer, shape, others, outputs):
    """The same layer with the weights g v / ||v|| of eq. 2, put together by numpy."""
    torch.manual_seed(0)
    normed, plain, x = WeightNorm(layer(), 1.5, learned=True).double(), layer().double(), torch.randn(shape).double()
    with torch.no_grad():
        for part in (normed.length, normed.gain, normed.bias, normed.shift):
            part.copy_(torch.randn_like(part))
        v = normed.layer.weight.numpy()
        g = (normed.length * normed.gain).numpy().reshape([-1 if axis == outputs else 1 for axis in range(v.ndim)])
        plain.weight.copy_(torch.from_numpy(g * v / np.sqrt((v**2).sum(others, keepdims=True))))
        moved = (normed.bias + normed.shift).view(-1, *[1] * (len(shape) - 2))
        torch.testing.assert_close(normed(x), plain(x) + moved, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("layer", "shape", "others", "outputs"), LAYERS)
def test_a_layer_begins_with_outputs_of_mean_0_and_variance_1(layer, shape, others, outputs):
    torch.manual_seed(0)
    normed = WeightNorm(layer(), 1.0, learned=False).double()
    assert [name for name, _ in normed.named_parameters()] == ["bias", "layer.weight"]
    x = 3 + 2 * torch.rand(50, *shape[1:]).double()
    normed.standardise(x)
    out = normed(x).detach().numpy().swapaxes(0, 1).reshape(3, -1)
    np.testing.assert_allclose(out.mean(1), 0, atol=1e-9)
    np.testing.assert_allclose(out.std(1), 1, rtol=1e-5)


def test_layers_begin_one_after_another():
    torch.manual_seed(0)
    network = nn.Sequential(*(layer for _ in range(4) for layer in (weighted(nn.Linear(6, 6, bias=False), 1.0, True),)))
    x = torch.rand(200, 6) + 4
    standardise(network, x)
    for layer in network:
        x = layer(x)
        torch.testing.assert_close(x.mean(0), torch.zeros(6), rtol=0, atol=1e-4)
        torch.testing.assert_close(x.std(0, correction=0), torch.ones(6), rtol=1e-3, atol=0)


def test_a_weight_that_is_not_normalised_begins_as_long_on_average():
    torch.manual_seed(0)
    plain = weighted(nn.Linear(400, 300, bias=False), 2.0, norm=False)
    assert plain.weight.square().sum(1).mean().sqrt().item() == pytest.approx(2, rel=0.01)
    assert not plain.bias.any()


def test_noise_is_of_training_and_has_its_deviation():
    noise, x = Noise(0.3), torch.full((200, 500), 0.25)
    assert torch.equal(noise.eval()(x), x)
    torch.manual_seed(0)
    added = noise.train()(x) - x
    assert added.mean().abs() < 0.005
    assert added.std().item() == pytest.approx(0.3, rel=0.01)
    assert not any(
        isinstance(part, Noise) for part in classifiers.Perceptron(noise=0, hidden_noise=0).build(MNIST).body
    )


def test_the_networks_are_the_papers():
    """Their layers by hand: weights, biases, the last lengths; BatchNorm's gain and shift in the generators."""

    def count(network):
        return sum(parameter.numel() for parameter in network.parameters())

    widths = [784, 1000, 500, 250, 250, 250, 10]
    dense = sum(before * after + after for before, after in itertools.pairwise(widths)) + 10
    assert count(classifiers.Perceptron().build(MNIST)) == dense
    wide = [(3, 96, 3), (96, 96, 3), (96, 96, 3), (96, 192, 3), (192, 192, 3), (192, 192, 3)]
    wide += [(192, 192, 3), (192, 192, 1), (192, 192, 1), (192, 10, 1)]
    convolutional = sum(before * after * size**2 + after for before, after, size in wide) + 10
    assert count(classifiers.Convolutional().build(Shape(3, 32, 10))) == convolutional
    up = 100 * 500 + 500 * 500 + 2 * 2 * 500 + 500 * 784 + 2 * 784
    assert count(generators.Perceptron().build(MNIST, 100)) == up
    up = 100 * 8192 + 2 * 8192 + 25 * (512 * 256 + 256 * 128 + 128 * 3) + 2 * (256 + 128) + 2 * 3
    assert count(generators.Convolutional(depth=3).build(Shape(3, 32, 10), 100)) == up


@pytest.mark.parametrize("shape", [MNIST, Shape(3, 32, 10), Shape(1, 12, 2)])
@pytest.mark.parametrize("kind", ["mlp", "convolutional"])
def test_networks_take_small_images(kind, shape):
    classifier = classifiers.ClassifierNetwork.kinds[kind](width=4).build(shape)
    generator = generators.GeneratorNetwork.kinds[kind](width=4).build(shape, 3)
    image = generator(torch.randn(5, 3))
    assert image.shape == (5, shape.channels, shape.size, shape.size)
    assert image.abs().max() <= 1
    assert classifier(image).shape == (5, shape.classes)
    torch.testing.assert_close(classifier.eval()(image), classifier.head(classifier.features(image)))


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (classifiers.Convolutional(), Shape(1, 8, 10), r"^data.size=8: .*; allowed: at least 12$"),
        (classifiers.Perceptron(), Shape(1, 8), r"^classes=0: a classifier needs a data set with labels"),
        (generators.Convolutional(depth=3), Shape(1, 28, 10), r"^data.size=28: 3 doublings .*model.generator.depth$"),
    ],
)
def test_shapes_that_a_network_does_not_take_are_refused(network, shape, message):
    with pytest.raises(ValueError, match=message):
        network.build(shape, 3) if isinstance(network, generators.GeneratorNetwork) else network.build(shape)


def test_a_classifier_asks_for_500_images_to_begin_with_and_none_without_weight_norm():
    asked = []

    def draw(number):
        asked.append(number)
        return torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(number)) * 2 - 1

    torch.manual_seed(0)
    classifier = classifiers.Perceptron(width=16, noise=0, hidden_noise=0).build(Shape(1, 8, 10)).eval()
    classifier.fit(draw)
    assert asked == [0, 1, 2]
    assert not classifier.training
    logits = classifier(torch.cat([draw(number) for number in range(3)]))
    torch.testing.assert_close(logits.std(0, correction=0), torch.ones(10), rtol=1e-3, atol=0)
    asked.clear()
    classifiers.Perceptron(width=16, weight_norm=False).build(Shape(1, 8, 10)).fit(draw)
    assert not asked


def test_a_frozen_classifier_is_noisy_where_that_is_asked_for():
    torch.manual_seed(0)
    for network in (classifiers.Perceptron(width=16), classifiers.Convolutional(width=4)):
        classifier, image = network.build(Shape(1, 12, 10)).eval(), torch.rand(4, 1, 12, 12)
        with classifier.noisy(False):
            assert torch.equal(classifier(image), classifier(image))
        with classifier.noisy(True):
            assert not torch.equal(classifier(image), classifier(image))
        assert torch.equal(classifier(image), classifier(image))
        assert not any(part.training for part in classifier.modules())
