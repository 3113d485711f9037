import torch
from torch import nn

from gen.nets.mlp import mlp


def test_layers_alternate_and_nothing_follows_the_last():
    layers = list(mlp([5, 4, 3]))
    assert [type(layer) for layer in layers] == [nn.Linear, nn.ReLU, nn.Linear]
    assert mlp([5, 4, 3])(torch.zeros(2, 5)).shape == (2, 3)


def test_slope_makes_it_leaky():
    assert mlp([5, 4, 3], slope=0.2)[1].negative_slope == 0.2
