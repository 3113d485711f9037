"""How labels reach the players."""

import pytest
import torch
from torch import nn

from gen.nets.labelled import EmbeddingReading, GameConditioning, PlanesReading, ProjectionReading
from gen.phase import Shape

SHAPE = Shape(1, 8, 10)
LABELS = {"label": torch.tensor([3, 0, 9])}


class Recorder(nn.Sequential):
    """A critic that keeps what it is shown."""

    def forward(self, x):
        self.seen = x
        return super().forward(x)


def critic(channels):
    return Recorder(nn.Flatten(), nn.Linear(64 * channels, 5), nn.ReLU(), nn.Linear(5, 1))


def test_the_published_form_shows_the_critic_a_channel_a_class():
    network, image = critic(11), torch.randn(3, 1, 8, 8)
    assert PlanesReading(10)(network, image, LABELS).shape == (3, 1)
    assert torch.equal(network.seen[:, :1], image)
    planes = network.seen[:, 1:]
    assert torch.equal(planes.amax((2, 3)), torch.nn.functional.one_hot(LABELS["label"], 10).float())
    assert torch.equal(planes.amin((2, 3)), planes.amax((2, 3)))  # constant over the image


def test_an_embedding_is_one_channel_more():
    network, image = critic(2), torch.randn(3, 1, 8, 8)
    reading = EmbeddingReading(10, 8)
    reading(network, image, LABELS)
    assert torch.equal(network.seen[:, 1].flatten(1), reading.vectors(LABELS["label"]))


def test_a_projection_adds_the_product_with_the_last_layers_input():
    network, image = critic(1), torch.randn(3, 1, 8, 8)
    reading = ProjectionReading(10, 5)
    features = nn.Sequential(*list(network)[:-1])(image)
    expected = nn.Sequential(*network)(image)[:, 0] + (reading.vectors(LABELS["label"]) * features).sum(1)
    torch.testing.assert_close(reading(network, image, LABELS)[:, 0], expected)


@pytest.mark.parametrize("name", GameConditioning.kinds)
def test_what_a_kind_promises_of_sizes(name):
    kind = GameConditioning.kinds[name]()
    joiner, planes = kind.joiner(SHAPE), kind.planes(SHAPE)
    rows = joiner(torch.zeros(3, 7), LABELS)
    assert rows.shape == (3, 7 + joiner.numbers)
    assert kind.reading(SHAPE, 5)(critic(1 + planes), torch.zeros(3, 1, 8, 8), LABELS).shape == (3, 1)
    assert bool(kind.needs) == (name != "none")
    if kind.needs:
        with pytest.raises(ValueError, match="needs a data set with labels"):
            kind.check(Shape(1, 8))
