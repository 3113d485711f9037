"""Which classes fakes reach, and how evenly: the test for mode collapse of Metz et al. 2017,
https://arxiv.org/abs/1611.02163, and VEEGAN, Srivastava et al. 2017, https://arxiv.org/abs/1705.07761."""

from __future__ import annotations

import math

from torch import Tensor, special


def mode_coverage(counts: Tensor) -> dict[str, float]:
    """Metric -> value, from the number of fakes in each of K classes, the modes: counts (K,).

    The number of modes that any fake reaches, their share of all K, the entropy H of the histogram in nats, and its
    divergence from the uniform histogram in nats: KL(fakes || uniform) = log K - H. A mode that is not reached adds
    nothing to either. N fakes that are drawn evenly have a divergence of about (K - 1) / 2N nats, by chance alone: 0.05
    for 10,000 of the 1,000 modes of stacked MNIST, 0.02 for the 26,000 of the papers. NaN without fakes.
    """
    shares = counts.double() / counts.sum()
    entropy, reached = float(special.entr(shares).sum()), int((counts > 0).sum())
    return {
        "modes": float(reached),
        "mode_share": reached / len(counts),
        "mode_entropy": entropy,
        "mode_divergence": max(math.log(len(counts)) - entropy, 0.0) if entropy == entropy else math.nan,
    }
