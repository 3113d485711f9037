"""A classifier as a critic: Salimans et al. 2016, https://arxiv.org/abs/1606.03498."""

from __future__ import annotations

from torch import Tensor

from gen.objectives.precision import upcast


def real_logit(logits: Tensor) -> Tensor:
    """The logit (B, 1) of an image being real, from the logits (B, K) of its classes. The fake class has the logit 0
    and no output: D(x) = Z(x) / (Z(x) + 1), Z(x) = sum_k exp(l_k(x)), section 5, so log Z is the logit of D."""
    return upcast(logits).logsumexp(1, keepdim=True)


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """|| E f(x) - E f(G(z)) ||^2, section 3.1, a feature's share of it: from features (B, F) of real images and of
    fakes, a scalar."""
    return (upcast(real).mean(0) - upcast(fake).mean(0)).square().mean()
