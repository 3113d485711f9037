import dataclasses

import pytest
import torch
from torch import nn

from gen.objectives.penalties import R1, Clipping, Dragan, NoPenalty, OneCentred, Penalty, Weighted, ZeroCentred

CENTRED = {OneCentred: 1.0, ZeroCentred: 0.0, Dragan: 1.0}  # what the gradient's norm is to be
WEIGHTED = [kind for kind in Penalty.kinds.values() if issubclass(kind, Weighted)]


def gradient_penalty(critic, real, fake, kind=OneCentred):
    return kind(7.0).of(critic, real, fake)[1]


class Recorder(nn.Module):
    """A critic that keeps the points that it is asked about."""

    def forward(self, x):
        self.points = x
        return x.square().sum(dim=(1, 2, 3)) / 2


def images(count=6, dtype=torch.float64):
    return torch.rand(2, count, 1, 3, 3, dtype=dtype) * 2 - 1


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 1)).double()


@pytest.mark.parametrize("kind", CENTRED)
def test_of_a_linear_critic_is_that_of_its_weights(kind):
    critic, (real, fake), norm = linear(), images(), CENTRED[kind]
    weight = critic[1].weight
    penalty = gradient_penalty(critic, real, fake, kind)
    torch.testing.assert_close(penalty, (weight.norm() - norm) ** 2)
    (slope,) = torch.autograd.grad(penalty, weight)  # it must teach the critic
    torch.testing.assert_close(slope, 2 * (weight.norm() - norm) * weight / weight.norm())


@pytest.mark.parametrize("kind", [OneCentred, ZeroCentred])
def test_points_lie_between_an_image_and_a_fake_one_share_for_each(kind):
    critic, (real, fake) = Recorder(), images()
    penalty = gradient_penalty(critic, real, fake, kind)
    share = (critic.points - fake) / (real - fake)
    torch.testing.assert_close(share, share[:, :, :1, :1].expand_as(share))
    assert share.min() >= 0
    assert share.max() <= 1
    assert share[:, 0, 0, 0].unique().numel() == len(real)
    norms = critic.points.flatten(1).norm(dim=1)  # the gradient is x
    torch.testing.assert_close(penalty, (norms - CENTRED[kind]).square().mean())


def test_dragan_looks_near_real_images_on_the_brighter_side():
    critic, (real, fake) = Recorder(), images(400)
    penalty = gradient_penalty(critic, real, fake, Dragan)
    moved = critic.points - real
    assert moved.min() >= 0
    assert moved.max() <= 0.5 * real.std()
    assert moved.mean().item() == pytest.approx(real.std().item() / 8, rel=0.1)  # half the deviation, halved twice
    torch.testing.assert_close(penalty, (critic.points.flatten(1).norm(dim=1) - 1).square().mean())


def test_r1_is_half_the_squared_gradient_at_real_images():
    critic, (real, fake) = Recorder(), images()
    penalty = gradient_penalty(critic, real, fake, R1)
    assert torch.equal(critic.points, real)
    torch.testing.assert_close(penalty, real.flatten(1).square().sum(1).mean() / 2)


def test_clipping_bounds_weights_and_adds_nothing():
    critic, (real, fake) = linear(), images()
    before = [parameter.detach().clone() for parameter in critic.parameters()]
    assert Clipping(0.1).of(critic, real, fake) is None
    with torch.no_grad():
        Clipping(0.1).project(critic.parameters())
    for parameter, old in zip(critic.parameters(), before, strict=True):
        assert torch.equal(parameter, old.clamp(-0.1, 0.1))
    assert critic[1].weight.abs().max() == 0.1
    assert [kind.projects for kind in Penalty.kinds.values()] == [kind is Clipping for kind in Penalty.kinds.values()]


@pytest.mark.parametrize("kind", WEIGHTED)
def test_agrees_with_finite_differences_through_a_deep_critic(kind):
    critic = nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.Softplus(), nn.Linear(5, 1)).double()
    real, fake = images(3)
    weight = critic[1].weight.detach().clone().requires_grad_()

    def penalty(weight):
        def moved(x):
            return torch.func.functional_call(critic, {"1.weight": weight}, (x,))

        torch.manual_seed(0)
        return gradient_penalty(moved, real, fake, kind)

    assert torch.autograd.gradcheck(penalty, (weight,))


@pytest.mark.parametrize("kind", WEIGHTED)
def test_a_flat_critic_has_a_finite_gradient(kind):
    """The derivative of the root, where there is one, is infinite at zero."""
    critic, (real, fake) = linear(), images()
    nn.init.zeros_(critic[1].weight)
    penalty = gradient_penalty(critic, real, fake, kind)
    penalty.backward()
    assert penalty.item() == CENTRED.get(kind, 0.0)
    assert critic[1].weight.grad.isfinite().all()


@pytest.mark.parametrize("kind", WEIGHTED)
def test_is_in_float32_under_autocast_from_bf16_fakes(kind):
    critic, (real, fake) = linear().float(), images(dtype=torch.float32)
    torch.manual_seed(3)
    outside = gradient_penalty(critic, real, fake.bfloat16(), kind)
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        inside = gradient_penalty(critic, real, fake.bfloat16(), kind)
    assert inside.dtype == torch.float32
    assert inside.item() == outside.item()


@pytest.mark.parametrize("kind", WEIGHTED)
def test_weights(kind):
    critic, (real, fake) = linear(), images()
    weight, penalty = dataclasses.replace(kind(), weight=3.0).of(critic, real, fake)
    assert weight == 3
    assert penalty.shape == ()
    assert kind().weight == 10
    with pytest.raises(ValueError, match=r"^weight=-1 is out of range; allowed: at least 0"):
        kind(-1.0)


def test_none_is_none():
    assert NoPenalty().of(linear(), *images()) is None
