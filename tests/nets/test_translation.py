"""Networks that translate images, and the critic of patches."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from gen.nets.translation import PatchCritic, Residuals, Translator, UNet
from gen.phase import Shape


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("blocks", "numbers"), [(9, 11_378_179), (6, 7_837_699)])
def test_a_generator_of_residual_blocks_has_the_published_parameters(blocks: int, numbers: int) -> None:
    assert count(Residuals(blocks=blocks).build(Shape(3, 256))) == numbers


def test_a_u_net_has_the_parameters_of_its_layers() -> None:
    """Convolutions of 4 x 4 with biases: at 256 pixels eight that halve and eight that double."""
    down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    up = [(512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 3)]
    layers = [*pairwise(down), *up]
    numbers = sum(16 * before * after + after for before, after in layers)
    assert count(UNet().build(Shape(3, 256))) == numbers == 54_409_603


def test_a_critic_has_the_published_parameters() -> None:
    assert count(PatchCritic().build(Shape(3, 256))) == 2_764_737


@pytest.mark.parametrize(("halvings", "patch"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_critic_s_output_sees_a_patch(halvings: int, patch: int) -> None:
    critic = nn.Sequential(
        *(layer for layer in PatchCritic(4, halvings).build(Shape(1, 256)) if not isinstance(layer, nn.InstanceNorm2d))
    ).double()  # instance norm looks at the whole image
    image = torch.rand(1, 1, 256, 256, dtype=torch.float64, requires_grad=True)
    scores = critic(image)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert image.grad is not None
    seen = image.grad[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [patch, patch]


@pytest.mark.parametrize("kind", Translator.kinds)
def test_a_generator_takes_any_multiple_of_its_own(kind: str) -> None:
    shape = Shape(1, 24)
    translator = Translator.kinds[kind](width=4)
    network, multiple = translator.build(shape), translator.multiple(shape)
    assert shape.size % multiple == 0
    for height, width in ((3, 5), (4, 3)):
        images = torch.rand(2, 1, height * multiple, width * multiple) * 2 - 1
        made = network(images)
        assert made.shape == images.shape
        assert made.abs().max() <= 1
        torch.testing.assert_close(network(images[:1]), made[:1])  # whatever stands beside an image


@pytest.mark.parametrize("kind", Translator.kinds)
@pytest.mark.parametrize("size", [8, 12, 28, 32, 48, 64])
def test_all_sizes_that_four_divides_are_trained_on(kind: str, size: int) -> None:
    made = Translator.kinds[kind](width=4).build(Shape(3, size)).train()(torch.rand(1, 3, size, size))
    assert made.shape == (1, 3, size, size)


@pytest.mark.parametrize("kind", Translator.kinds)
@pytest.mark.parametrize("size", [4, 10, 30])
def test_other_sizes_are_refused_in_one_line(kind: str, size: int) -> None:
    with pytest.raises(ValueError, match=rf"^data.size={size}: translators .*; allowed: multiples of 4 from 8$"):
        Translator.kinds[kind]().build(Shape(3, size))


@pytest.mark.parametrize(("size", "halvings"), [(20, 3), (8, 2)])
def test_a_critic_refuses_images_that_are_too_small_for_it(size: int, halvings: int) -> None:
    with pytest.raises(ValueError, match=rf"^data.size={size} is too small .* at least {3 << halvings} pixels, or"):
        PatchCritic(halvings=halvings).build(Shape(3, size))
    critic = PatchCritic(4, halvings).build(Shape(3, 3 << halvings)).train()
    assert critic(torch.rand(1, 3, 3 << halvings, 3 << halvings)).shape == (1, 1, 1, 1)


@pytest.mark.parametrize("kind", Translator.kinds)
def test_weights_begin_small_and_biases_at_zero(kind: str) -> None:
    torch.manual_seed(0)
    for network in (Translator.kinds[kind]().build(Shape(3, 32)), PatchCritic().build(Shape(3, 32))):
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                assert not parameter.any()
            elif parameter.numel() > 10_000:
                assert parameter.detach().mean().abs() < 1e-3
                assert parameter.detach().std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("network", [Residuals(4, 1), UNet(4), PatchCritic(4)])
def test_norms_have_neither_gain_nor_shift(network: Residuals | UNet | PatchCritic) -> None:
    norms = [part for part in network.build(Shape(3, 32)).modules() if isinstance(part, nn.InstanceNorm2d)]
    assert norms
    assert not any(list(norm.parameters()) or norm.track_running_stats for norm in norms)
