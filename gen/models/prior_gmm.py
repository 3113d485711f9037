"""A Gaussian mixture of the principal components of a VQ-VAE's quantised latents.

Scikit-learn fits both before the first step: the components in closed form, the mixture by expectation-maximisation.
So the model has no phases, and samples from its buffers. Each vector of a sample is replaced by its nearest code, and
the codes are decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gen.capabilities import Fits, Imitates
from gen.checks import at_least
from gen.config.model import TwoStageConfig
from gen.models.prior import Prior
from gen.phase import Batch, Phase, Shape


class MixturePrior(Prior, Fits, Imitates):
    """latents = centre + y basis, y ~ sum_k w_k N(m_k, L_k L_k^T), and the frozen VQ-VAE that decodes them."""

    centre: Tensor  # (places * D,): mean of the latents
    basis: Tensor  # (P, places * D): principal components, times the deviation of points along one
    weights: Tensor  # (K,)
    means: Tensor  # (K, P)
    factors: Tensor  # (K, P, P): Cholesky factors of the covariances

    @dataclass(frozen=True)
    class Config(TwoStageConfig):
        """Sizes."""

        components: int = 16  # Gaussians
        pca: int = 256  # principal components; at most as many as the latents have dimensions
        points: int = 5_000  # training images to which the mixture is fitted
        floor: float = 1e-4  # added to each variance, as a share of the mean variance of a principal component
        iterations: int = 100  # of expectation-maximisation, at most

        def __post_init__(self) -> None:
            at_least("components", self.components, 1)
            at_least("pca", self.pca, 1)
            at_least("points", self.points, max(self.components, self.pca))
            at_least("floor", self.floor, 1e-12)
            at_least("iterations", self.iterations, 1)

        def build(self, shape: Shape) -> MixturePrior:
            return MixturePrior(self, shape)

    def __init__(self, config: MixturePrior.Config, shape: Shape) -> None:
        super().__init__(config.stage_one, shape)
        self.config = config
        dimensions = math.prod(self.latent_shape)
        K, P = config.components, min(config.pca, dimensions)
        for name, start in {  # until it is fitted: a standard normal in the first P dimensions
            "centre": torch.zeros(dimensions),
            "basis": torch.eye(P, dimensions),
            "weights": torch.full((K,), 1 / K),
            "means": torch.zeros(K, P),
            "factors": torch.eye(P).repeat(K, 1, 1),
        }.items():
            self.register_buffer(name, start)

    def count_learned(self) -> int:
        return sum(part.numel() for part in (self.centre, self.basis, self.weights, self.means, self.factors))

    def phases(self) -> Sequence[Phase]:
        return []

    def fit(self, draw: Callable[[int], Batch]) -> None:
        from sklearn.decomposition import PCA  # here: it takes a second to import, and most processes fit nothing
        from sklearn.mixture import GaussianMixture

        points, index = [self.latents(draw(0))], 1
        while sum(map(len, points)) < self.config.points:  # a smaller set repeats, and each image counts alike
            points.append(self.latents(draw(index)))
            index += 1
        data = torch.cat(points)[: self.config.points].double().cpu().numpy()
        state = int(torch.randint(2**31, ()))
        pca = PCA(len(self.basis), random_state=state)
        reduced = pca.fit_transform(data)
        scale = max(float(reduced.std()), 1e-12)  # the floor must not depend on the codes' scale
        mixture = GaussianMixture(
            self.config.components,
            reg_covar=self.config.floor,
            max_iter=self.config.iterations,
            random_state=state,
        ).fit(reduced / scale)
        self.centre.copy_(torch.from_numpy(pca.mean_))
        self.basis.copy_(torch.from_numpy(pca.components_ * scale))
        self.weights.copy_(torch.from_numpy(mixture.weights_))
        self.means.copy_(torch.from_numpy(mixture.means_))
        self.factors.copy_(torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)))

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        component = torch.multinomial(self.weights, len(batch["image"]), replacement=True)  # (B,)
        noise = torch.randn(len(component), self.means.shape[1], device=self.means.device, dtype=self.means.dtype)
        spread = noise @ self.factors.mT  # (K, B, P): of every component, for (B, P, P) factors take too much memory
        drawn = self.means[component] + spread[component, torch.arange(len(component), device=component.device)]
        return {"image": self.decode_nearest(self.centre + drawn @ self.basis)}
