import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gen.objectives.quantisation import codebook_loss, commitment_loss, straight_through, usage


def pair():
    vectors, codes = torch.randn(2, 5, 3, dtype=torch.float64)
    return vectors.requires_grad_(), codes.requires_grad_()


def test_straight_through_has_the_value_of_codes_and_the_gradient_of_vectors():
    vectors, codes = pair()
    output = straight_through(vectors, codes)
    torch.testing.assert_close(output, codes)
    weights = torch.randn_like(output)
    (output * weights).sum().backward()
    torch.testing.assert_close(vectors.grad, weights)
    assert codes.grad is None


def test_straight_through_agrees_with_finite_differences_where_the_step_to_the_codes_stands_still():
    """The gradient is that of vectors plus a constant."""
    vectors, codes = pair()
    weights = torch.randn_like(codes)
    ((straight_through(vectors, codes) ** 3) * weights).sum().backward()
    moved, epsilon = (codes - vectors).detach(), 1e-6
    for place in ((0, 0), (2, 1), (4, 2)):
        step = torch.zeros_like(vectors)
        step[place] = epsilon
        ahead, behind = (((vectors.detach() + sign * step + moved) ** 3 * weights).sum() for sign in (1, -1))
        torch.testing.assert_close(vectors.grad[place], (ahead - behind) / (2 * epsilon), rtol=1e-6, atol=1e-8)


def test_commitment_moves_vectors_only_and_the_codebook_loss_codes_only():
    for loss, mover in ((commitment_loss, 0), (codebook_loss, 1)):
        tensors = pair()
        loss(*tensors).backward()
        assert tensors[1 - mover].grad is None
        torch.testing.assert_close(tensors[mover].grad, 2 * (tensors[mover] - tensors[1 - mover]).detach() / 15)
        torch.testing.assert_close(loss(*tensors), (tensors[0] - tensors[1]).square().mean())


def test_losses_agree_with_finite_differences_where_the_other_side_stands_still():
    vectors, codes = pair()
    assert torch.autograd.gradcheck(lambda x: commitment_loss(x, codes.detach()), (vectors,))
    assert torch.autograd.gradcheck(lambda x: codebook_loss(vectors.detach(), x), (codes,))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_usage_counts_evenly_used_codes_as_what_they_are(indices):
    perplexity, used = usage(torch.tensor(indices), 10)
    assert used.item() == pytest.approx(len(set(indices)) / 10)
    assert 1 - 1e-5 <= perplexity.item() <= len(set(indices)) + 1e-4
    even, _ = usage(torch.tensor(sorted(set(indices))), 10)
    assert even.item() == pytest.approx(len(set(indices)), rel=1e-5)


def test_usage_agrees_with_the_entropy_of_torch_distributions():
    indices = torch.randint(7, (4, 3, 3))
    entropy = torch.distributions.Categorical(torch.bincount(indices.flatten(), minlength=7).float()).entropy()
    torch.testing.assert_close(usage(indices, 7)[0], entropy.exp())
