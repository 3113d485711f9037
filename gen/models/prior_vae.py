"""A variational autoencoder (Kingma and Welling 2013, https://arxiv.org/abs/1312.6114) of the quantised latents of a
VQ-VAE.

Deviations from the paper:
1. Its data are the latents of a frozen VQ-VAE, flattened. Each vector that it samples is replaced by its nearest code,
   and the codes are decoded.
2. The decoder is a Gaussian of one variance, the likeliest for each batch (sigma-VAE, Rybkin et al. 2021,
   https://arxiv.org/abs/2006.13202), because latents have no scale of their own. They are centred and scaled by two
   numbers that are fitted beforehand. So the bound is one of latents, and is logged in training only; on held-out
   images the model is judged by its fakes.
3. Two hidden layers of ReLU instead of one of tanh; Adam instead of Adagrad.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gen.capabilities import Decodes, Encodes, Fits, Imitates, Interpolates
from gen.checks import at_least
from gen.config.model import TwoStageConfig
from gen.models.prior import Prior
from gen.nets.mlp import mlp
from gen.objectives.kl import active_units, rates
from gen.objectives.precision import upcast
from gen.optimizers import Adam, Optimizer
from gen.phase import Batch, Logs, Phase, Shape

BATCHES = 50  # of training images, to which the scale of the latents is fitted


class VAEPrior(Prior, Decodes, Encodes, Fits, Imitates, Interpolates):
    """q(z | latents), p(latents | z), and the frozen VQ-VAE that decodes the latents."""

    mean: Tensor  # (): of all numbers of the latents, fitted
    scale: Tensor  # (): their standard deviation, fitted

    @dataclass(frozen=True)
    class Config(TwoStageConfig):
        """Sizes and weights."""

        latent: int = 32  # dimensions of z
        width: int = 512  # units of the encoder's first layer; each next layer has half; the decoder mirrors it
        depth: int = 2  # hidden layers of each network
        beta: float = 1.0  # weight of the rate
        optimizer: Optimizer = field(default_factory=lambda: Adam(rate=1e-3))

        def __post_init__(self) -> None:
            at_least("latent", self.latent, 1)
            at_least("depth", self.depth, 1, 8)
            at_least("width", self.width, 2**self.depth)
            at_least("beta", self.beta, 0)

        def build(self, shape: Shape) -> VAEPrior:
            return VAEPrior(self, shape)

    def __init__(self, config: VAEPrior.Config, shape: Shape) -> None:
        super().__init__(config.stage_one, shape)
        self.config, self.latent_size = config, config.latent
        dimensions = math.prod(self.latent_shape)
        widths = [config.width // 2**layer for layer in range(config.depth)]
        self.encoder = mlp([dimensions, *widths, 2 * config.latent])
        self.decoder = mlp([config.latent, *reversed(widths), dimensions])
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, draw: Callable[[int], Batch]) -> None:
        latents = torch.cat([self.latents(draw(index)) for index in range(BATCHES)])
        self.mean.copy_(latents.mean())
        self.scale.copy_(latents.std().clamp(min=1e-12))  # 0 where a single code is used

    def phases(self) -> Sequence[Phase]:
        return [Phase("prior", nn.ModuleList([self.encoder, self.decoder]), self.loss, self.config.optimizer)]

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        target = self.to_fitted_scale(batch)
        mean, log_variance = self.posterior(target)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        variance = (upcast(self.decoder(z)) - upcast(target)).square().mean()  # the likeliest one, as in the sigma-VAE
        distortion = target.shape[1] / 2 * (1 + variance.log() + math.log(2 * math.pi))  # mean of -log N(target; ...)
        by_unit = rates(mean, log_variance).mean(0)  # (Z,)
        rate = by_unit.sum()
        logs = {"distortion": distortion, "rate": rate, "bound": distortion + rate, "deviation": variance.sqrt()}
        return distortion + self.config.beta * rate, logs | {
            "active_units": active_units(mean),
            "least_rate": by_unit.min(),
            "largest_rate": by_unit.max(),
        }

    def to_fitted_scale(self, batch: Batch) -> Tensor:
        """The latents (B, places * D) of a batch on the fitted scale."""
        return (self.latents(batch) - self.mean) / self.scale

    def latent_posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.posterior(self.to_fitted_scale(batch))

    def posterior(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of q(z | latents), from latents on the fitted scale."""
        mean, log_variance = upcast(self.encoder(target)).chunk(2, dim=1)
        return mean, log_variance

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        image = batch["image"]
        z = torch.randn(len(image), self.latent_size, device=image.device, dtype=image.dtype)
        return {"image": self.decode_latents(z, batch)}

    def decode_latents(self, latents: Tensor, batch: Batch) -> Tensor:
        return self.decode_nearest(self.decoder(latents) * self.scale + self.mean)

    def interpolate(self, batch: Batch, steps: int) -> Tensor:
        mean, _ = self.latent_posterior(batch)
        pairs = mean[: len(mean) // 2 * 2]
        share = torch.linspace(0, 1, steps, device=mean.device, dtype=mean.dtype)[:, None]  # (steps, 1)
        line = torch.lerp(pairs[0::2, None], pairs[1::2, None], share)  # (P, steps, Z)
        images = self.decode_latents(line.flatten(0, 1), batch)
        return images.view(len(line), steps, *images.shape[1:])
