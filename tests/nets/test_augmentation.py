"""What a critic sees of images: mirrored, moved, noisy; and how the generator learns through it."""

import pytest
import torch

from gen.nets.augmentation import Augmentation, translate


def images(count=200, size=6):
    torch.manual_seed(0)
    return torch.rand(count, 2, size, size, dtype=torch.float64) * 2 - 1


def test_without_settings_images_stay_and_no_noise_is_drawn():
    state = torch.get_rng_state()
    x = images(3)
    torch.set_rng_state(state)
    assert Augmentation().build()(x) is x
    assert torch.equal(torch.get_rng_state(), state)
    assert not Augmentation().build().state_dict()


def test_half_of_the_images_are_mirrored():
    x = images()
    seen = Augmentation(flip=True).build()(x)
    turned = (seen == x.flip(3)).flatten(1).all(1)
    assert (turned | (seen == x).flatten(1).all(1)).all()
    assert 0.35 < turned.double().mean() < 0.65


def test_a_move_is_a_shift_that_lets_zeros_in():
    x = images(300)
    seen, offsets = translate(x, 2), set()
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    for old, new in zip(padded, seen, strict=True):
        found = [(a, b) for a in range(5) for b in range(5) if torch.equal(old[:, a : a + 6, b : b + 6], new)]
        assert len(found) == 1
        offsets |= set(found)
    assert len(offsets) == 25  # each image by its own, up to two pixels in each direction


def test_translation_is_a_share_of_the_side():
    x = torch.ones(200, 1, 16, 16)
    seen = Augmentation(translation=0.125).build()(x)
    assert {int(count) for count in (seen[:, 0, 8] == 0).sum(1)} == {0, 1, 2}


def test_noise_fades_with_the_moves_and_a_checkpoint_keeps_how_far():
    x = torch.zeros(50, 1, 20, 20)
    augmenter = Augmentation(noise=0.5, noise_moves=4).build()
    for left in (1.0, 0.75, 0.5, 0.25, 0.0, 0.0):
        assert augmenter(x).std().item() == pytest.approx(0.5 * left, rel=0.03)
        augmenter.count_move()
    assert augmenter.state_dict()["moves"].item() == 6


def test_gradients_reach_the_images():
    x = images(4).requires_grad_()
    Augmentation(flip=True, translation=0.2, noise=0.1).build()(x).square().sum().backward()
    assert (x.grad != 0).flatten(1).any(1).all()


@pytest.mark.parametrize("wrong", [{"translation": 0.6}, {"noise": -1.0}, {"noise_moves": 0}])
def test_settings_out_of_range(wrong):
    with pytest.raises(ValueError, match="is out of range; allowed: "):
        Augmentation(**wrong)
