import pytest
import torch
from torch import nn

from gen.objectives.penalties import NoPenalty, OneCentred, gradient_penalty


class Recorder(nn.Module):
    """A critic that keeps the points that it is asked about."""

    def forward(self, x):
        self.points = x
        return x.square().sum(dim=(1, 2, 3)) / 2


def images(count=6, dtype=torch.float64):
    return torch.rand(2, count, 1, 3, 3, dtype=dtype) * 2 - 1


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 1)).double()


@pytest.mark.parametrize("norm", [0.0, 1.0])
def test_of_a_linear_critic_is_that_of_its_weights(norm):
    critic, (real, fake) = linear(), images()
    weight = critic[1].weight
    penalty = gradient_penalty(critic, real, fake, norm)
    torch.testing.assert_close(penalty, (weight.norm() - norm) ** 2)
    (slope,) = torch.autograd.grad(penalty, weight)  # it must teach the critic
    torch.testing.assert_close(slope, 2 * (weight.norm() - norm) * weight / weight.norm())


def test_points_lie_between_an_image_and_a_fake_one_share_for_each():
    critic, (real, fake) = Recorder(), images()
    penalty = gradient_penalty(critic, real, fake)
    share = (critic.points - fake) / (real - fake)
    torch.testing.assert_close(share, share[:, :, :1, :1].expand_as(share))
    assert share.min() >= 0
    assert share.max() <= 1
    assert share[:, 0, 0, 0].unique().numel() == len(real)
    torch.testing.assert_close(penalty, (critic.points.flatten(1).norm(dim=1) - 1).square().mean())  # gradient: x


def test_agrees_with_finite_differences_through_a_deep_critic():
    critic = nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.Softplus(), nn.Linear(5, 1)).double()
    real, fake = images(3)
    weight = critic[1].weight.detach().clone().requires_grad_()

    def penalty(weight):
        def moved(x):
            return torch.func.functional_call(critic, {"1.weight": weight}, (x,))

        torch.manual_seed(0)
        return gradient_penalty(moved, real, fake)

    assert torch.autograd.gradcheck(penalty, (weight,))


def test_a_flat_critic_has_a_finite_gradient():
    critic, (real, fake) = linear(), images()
    nn.init.zeros_(critic[1].weight)
    penalty = gradient_penalty(critic, real, fake)
    penalty.backward()
    assert penalty.item() == 1
    assert critic[1].weight.grad.isfinite().all()


def test_is_in_float32_under_autocast_from_bf16_fakes():
    critic, (real, fake) = linear().float(), images(dtype=torch.float32)
    torch.manual_seed(3)
    outside = gradient_penalty(critic, real, fake.bfloat16())
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        inside = gradient_penalty(critic, real, fake.bfloat16())
    assert inside.dtype == torch.float32
    assert inside.item() == outside.item()


def test_the_penalty_of_wgan_gp_is_the_one_centred_one_and_none_is_none():
    critic, (real, fake) = linear(), images()
    weight, penalty = OneCentred(3.0).of(critic, real, fake)
    assert weight == 3
    torch.testing.assert_close(penalty, gradient_penalty(critic, real, fake, 1.0))  # of a linear critic, at any points
    assert NoPenalty().of(critic, real, fake) is None
    with pytest.raises(ValueError, match=r"^weight=-1 is out of range; allowed: at least 0"):
        OneCentred(-1.0)
