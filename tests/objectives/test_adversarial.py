import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gen.objectives.adversarial import Hinge, LeastSquares, NonSaturating, Objective, Saturating, Wasserstein

ALL = [*(kind() for kind in Objective.kinds.values()), LeastSquares(-1, 1, 0)]
TARGETS = st.floats(-2, 2)


def logits(value, count=4):
    return torch.full((count, 1), float(value), dtype=torch.float64)


def test_non_saturating_at_equal_densities_is_two_log_two():
    assert NonSaturating().critic(logits(0), logits(0)).item() == pytest.approx(2 * math.log(2))  # D = 1/2: eq. 4
    assert NonSaturating().generator(logits(0)).item() == pytest.approx(math.log(2))


def test_non_saturating_is_the_cross_entropy_and_survives_large_logits():
    real, fake = torch.randn(2, 6, 1, dtype=torch.float64)
    expected = -(torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(fake)).log().mean())
    torch.testing.assert_close(NonSaturating().critic(real, fake), expected)
    assert NonSaturating().critic(logits(-500), logits(500)).item() == pytest.approx(1000)


def test_saturating_is_the_games_own_value():
    """Goodfellow et al. 2014, eq. 1: the generator lowers log(1 - D), which the critic raises."""
    real, fake = torch.randn(2, 6, 1, dtype=torch.float64)
    torch.testing.assert_close(Saturating().generator(fake), (1 - torch.sigmoid(fake)).log().mean())
    torch.testing.assert_close(Saturating().critic(real, fake), NonSaturating().critic(real, fake))


@pytest.mark.parametrize("kind", [NonSaturating, Saturating])
def test_smoothing_is_the_cross_entropy_to_a_softer_target(kind):
    real, fake = torch.randn(2, 6, 1, dtype=torch.float64)
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
    expected = cross_entropy(real, torch.full_like(real, 0.9)) + cross_entropy(fake, torch.zeros_like(fake))
    torch.testing.assert_close(kind(smoothing=0.1).critic(real, fake), expected)
    with pytest.raises(ValueError, match=r"^smoothing=0.6 is out of range"):
        kind(smoothing=0.6)


def test_hinge_is_zero_beyond_its_margins():
    assert Hinge().critic(logits(1.5), logits(-1.5)).item() == 0
    assert Hinge().critic(logits(0.25), logits(-0.5)).item() == 1.25
    assert Hinge().generator(logits(3)).item() == -3


@pytest.mark.parametrize("objective", ALL, ids=str)
def test_accuracy_counts_both_kinds_alike(objective):
    low, high = (objective.a, objective.b) if isinstance(objective, LeastSquares) else (-1.0, 1.0)
    right, wrong = logits(high), logits(low)
    assert objective.accuracy(right, wrong).item() == 1
    half = torch.cat([logits(high, 2), logits(low, 2)])
    assert objective.accuracy(half, half).item() == 0.5
    assert objective.accuracy(right, right).item() == 0.5  # all are taken for the same


@given(a=TARGETS, b=TARGETS, c=TARGETS, real=st.floats(0.01, 5), fake=st.floats(0.01, 5))
def test_least_squares_is_least_at_its_optimal_critic(a, b, c, real, fake):
    """Eq. 5 of the paper: D* = (b p_data + a p_g) / (p_data + p_g), at a point of densities `real` and `fake`."""
    objective, best = LeastSquares(a, b, c), (b * real + a * fake) / (real + fake)

    def loss(value):  # the integrand at one point, from the means over real images and over fakes apart
        return real * objective.critic(logits(value), logits(a)) + fake * objective.critic(logits(b), logits(value))

    assert loss(best) <= loss(best + 0.01)
    assert loss(best) <= loss(best - 0.01)
    assert objective.generator(logits(c)).item() == 0
    assert objective.critic(logits(b), logits(a)).item() == 0


def test_wasserstein_is_the_difference_of_means_and_blind_to_a_shift():
    assert Wasserstein().critic(logits(3), logits(1)).item() == -2
    assert Wasserstein().critic(logits(13), logits(11)).item() == -2
    assert Wasserstein().generator(logits(3)).item() == -3


@pytest.mark.parametrize("objective", [*ALL, NonSaturating(smoothing=0.1)], ids=str)
def test_a_critics_loss_is_that_of_real_images_and_that_of_fakes(objective):
    """So games with several kinds of fakes can add them."""
    real, fake, other = torch.randn(3, 6, 1, dtype=torch.float64)
    torch.testing.assert_close(objective.critic(real, fake), objective.on_real(real) + objective.on_fake(fake))
    mean = (objective.on_fake(fake) + objective.on_fake(other)) / 2
    torch.testing.assert_close(objective.on_fake(torch.cat([fake, other])), mean)


@pytest.mark.parametrize("objective", ALL, ids=str)
def test_shift_free_says_whether_a_constant_added_to_all_outputs_matters(objective):
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    real, fake = logits(2), logits(0.5)  # beyond a margin, and within one
    objective.critic(real + shift, fake + shift).backward()
    assert (abs(shift.grad.item()) < 1e-12) == objective.shift_free


@pytest.mark.parametrize("objective", ALL, ids=str)
def test_the_generator_wants_what_the_critic_fears(objective):
    """A generator's step down its loss raises the critic's, from where a good critic tells fakes from images."""
    fake = logits(-0.5 if not isinstance(objective, LeastSquares) else objective.a).requires_grad_()
    (slope,) = torch.autograd.grad(objective.generator(fake), fake)
    better = fake - 0.1 * slope
    assert objective.critic(logits(1), better) > objective.critic(logits(1), fake)


BEST = {
    NonSaturating(): (60, -60),
    Saturating(): (60, -60),
    NonSaturating(smoothing=0.1): (math.log(9), -60),
    Saturating(smoothing=0.5): (0, -60),
    LeastSquares(): (1, 0),
    LeastSquares(-1, 1, 0): (1, -1),
    Hinge(): (1, -1),
}


@pytest.mark.parametrize("objective", BEST, ids=str)
def test_the_least_loss_is_that_of_the_best_critic(objective):
    real, fake = BEST[objective]
    least = objective.critic(logits(real), logits(fake)).item()
    assert objective.least == pytest.approx(least, abs=1e-12)
    for other in (real - 0.3, real + 0.3):
        assert objective.critic(logits(other), logits(fake)).item() >= least - 1e-12
    assert {type(one) for one in BEST} | {Wasserstein} == set(Objective.kinds.values()), "each has its least here"


def test_a_wasserstein_critic_has_no_least_loss():
    assert Wasserstein().least == -math.inf


@pytest.mark.parametrize(
    ("objective", "loss"),
    [(NonSaturating(), 2 * math.log(2)), (LeastSquares(), 0.25), (LeastSquares(-1, 1, 0), 1), (Hinge(), 2)],
)
def test_a_critic_that_knows_nothing_has_the_loss_of_outputs_at_the_boundary(objective, loss):
    assert objective.undecided() == pytest.approx(loss)
    for output in (-0.4, 1.3):
        assert objective.critic(logits(output), logits(output)).item() >= loss - 1e-6
