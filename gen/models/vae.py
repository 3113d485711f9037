"""Auto-Encoding Variational Bayes, Kingma and Welling 2013, https://arxiv.org/abs/1312.6114, and its beta-VAE.

Deviations from the paper:
1. Two hidden layers of ReLU instead of one of tanh; Adam instead of Adagrad; batches of 64 instead of 100.
2. Grey values stand in for the Bernoulli variables, as usual: not a normalised density, so bounds compare only with one
   another.
3. `beta` weighs the rate (Higgins et al. 2017, beta-VAE, eq. 4); at 1, the default, it is the paper's bound.
4. The bound is a mean over images, not their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gen.nets.mlp import mlp
from gen.objectives.kl import kl_to_standard_normal
from gen.objectives.likelihoods import Bernoulli
from gen.objectives.precision import upcast
from gen.phase import Adam, Batch, Logs, Model, Optimizer, Phase, Shape, at_least


class VAE(Model):
    """An encoder q(z|x), a decoder p(x|z), and one phase in which both lower distortion + beta * rate."""

    @dataclass(frozen=True)
    class Config:
        """Sizes and weights."""

        latent: int = 16  # dimensions of z (paper: 2 to 200)
        width: int = 512  # units of the encoder's first layer, each next has half; the decoder mirrors it (paper: 500)
        depth: int = 2  # hidden layers of each network (paper: 1)
        beta: float = 1.0  # weight of the rate (paper: 1)
        likelihood: Bernoulli = field(default_factory=Bernoulli)
        optimizer: Optimizer = field(default_factory=lambda: Adam(rate=1e-3))

        def __post_init__(self) -> None:
            at_least("latent", self.latent, 1)
            at_least("depth", self.depth, 1, 8)
            at_least("width", self.width, 2**self.depth)
            at_least("beta", self.beta, 0)

        def build(self, shape: Shape) -> VAE:
            return VAE(self, shape)

    def __init__(self, config: VAE.Config, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        widths = [config.width // 2**layer for layer in range(config.depth)]
        self.encoder = mlp([shape.pixels, *widths, 2 * config.latent])
        self.decoder = mlp([config.latent, *reversed(widths), shape.pixels])

    def phases(self) -> Sequence[Phase]:
        return [Phase("autoencoder", self, self.loss, self.config.optimizer)]

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        terms = self.bound_terms(batch)
        distortion, rate = terms["distortion"].mean(), terms["rate"].mean()
        loss = distortion + self.config.beta * rate  # eq. 10; beta-VAE's eq. 4
        return loss, {"distortion": distortion, "rate": rate, "bound": distortion + rate}

    def bound_terms(self, batch: Batch) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(batch["image"])
        latent = mean + (log_variance / 2).exp() * torch.randn_like(mean)  # z = mu + sigma * epsilon, section 2.4
        distortion = self.config.likelihood.distortion(self.decoder(latent), batch["image"])  # (B,)
        return {"distortion": distortion, "rate": kl_to_standard_normal(mean, log_variance)}

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of q(z|x) = N(z; mu, sigma^2 I), eq. 9."""
        mean, log_variance = upcast(self.encoder(image.flatten(1))).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latent: Tensor) -> Tensor:
        """Mean of p(x|z) for `latent` (B, Z), (B, C, H, W) in [-1, 1]."""
        image = self.config.likelihood.mean(self.decoder(latent))
        return image.view(-1, self.shape.channels, self.shape.size, self.shape.size)

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        image = batch["image"]
        latent = torch.randn(len(image), self.config.latent, device=image.device, dtype=image.dtype)
        return {"image": self.decode(latent)}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        mean, _ = self.posterior(batch["image"])
        return {"image": self.decode(mean)}
