"""Norms: what they do to numbers, and that a bounded weight has a largest singular value of one."""

import copy

import pytest
import torch
from torch import nn

from gen.nets.norms import Norm, SpectralNorm, UnitSpectrum, has_spectra, iterate_spectra

LAYERS = {
    "linear": lambda: nn.Linear(6, 4),
    "convolution": lambda: nn.Conv2d(3, 4, 3),
    "transposed convolution": lambda: nn.ConvTranspose2d(3, 4, 3),
}


def matrix(layer):
    """A layer's weight as (outputs, all else)."""
    rows = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    return layer.weight.movedim(rows, 0).flatten(1)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_spectrum_is_bounded_as_exactly_as_the_power_method_knows_it(make):
    torch.manual_seed(0)
    layer = SpectralNorm().bound(make().double())
    for _ in range(200):
        iterate_spectra(layer)
    assert torch.linalg.svdvals(matrix(layer))[0].item() == pytest.approx(1, abs=1e-6)


def test_it_agrees_with_torchs_own_in_evaluation_mode():
    """An independent implementation, which iterates in each forward pass of training instead."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 4).double()
    own = SpectralNorm().bound(copy.deepcopy(layer))
    other = nn.utils.parametrizations.spectral_norm(copy.deepcopy(layer), n_power_iterations=200)
    for _ in range(200):
        iterate_spectra(own)
    other(torch.zeros(1, 6, dtype=torch.float64))
    torch.testing.assert_close(own.weight, other.eval().weight)


def test_passes_do_not_move_the_power_method_and_iterations_do():
    """A step's micro-batches see one weight, however many they are: the law of workers."""
    torch.manual_seed(0)
    network = nn.Sequential(SpectralNorm().bound(nn.Linear(6, 4)), nn.ReLU(), SpectralNorm().bound(nn.Linear(4, 1)))
    before = copy.deepcopy(network.state_dict())
    network.train()(torch.randn(5, 6)).sum().backward()
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    with torch.no_grad():
        for layer in (network[0], network[2]):
            layer.parametrizations.weight.original.mul_(torch.rand_like(layer.parametrizations.weight.original))
    iterate_spectra(network)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name in changed if name.endswith(("left", "right"))} == {
        f"{layer}.parametrizations.weight.0.{side}" for layer in "02" for side in ("left", "right")
    } - {"2.parametrizations.weight.0.left"}  # of one output there is one direction
    assert has_spectra(network)
    assert not has_spectra(nn.Linear(6, 4))


def test_the_gradient_knows_the_bound():
    """d/dW of the bounded weight, against finite differences with the vectors held: Miyato et al. 2018, eq. 12."""
    torch.manual_seed(0)
    bound = UnitSpectrum(weight := torch.randn(4, 6, dtype=torch.float64), 0).double()
    assert torch.autograd.gradcheck(bound, (weight.requires_grad_(),))


@pytest.mark.parametrize("name", ["batch", "layer", "instance"])
@pytest.mark.parametrize("flat", [False, True])
def test_a_norm_takes_scale_and_shift_away(name, flat):
    torch.manual_seed(0)
    shape = (16, 8) if flat else (16, 8, 4, 4)
    norm = nn.Sequential(*Norm.kinds[name]().behind(8, flat)).double().train()
    x = torch.randn(shape, dtype=torch.float64)
    out = norm(x)
    assert out.shape == x.shape
    torch.testing.assert_close(norm(100 * x + 7), out, rtol=1e-3, atol=1e-3)
    axes = {"batch": (0, 2, 3), "layer": (1, 2, 3), "instance": (2, 3)}[name]
    if flat:
        axes = (0,) if name == "batch" else (1,)
    torch.testing.assert_close(out.mean(axes), torch.zeros_like(out.mean(axes)))
    torch.testing.assert_close(out.var(axes, correction=0), torch.ones_like(out.mean(axes)), rtol=1e-3, atol=0)
