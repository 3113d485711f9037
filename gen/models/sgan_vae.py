"""Improved Techniques for Training GANs, Salimans et al. 2016, https://arxiv.org/abs/1606.03498, with an autoencoder,
Auto-Encoding Variational Bayes, Kingma and Welling 2013, https://arxiv.org/abs/1312.6114, in the generator's place, as
in Autoencoding beyond pixels using a learned similarity metric, Larsen et al. 2015, https://arxiv.org/abs/1512.09300.

Deviations from the papers:
1. The critic is the classifier of `gen.models.sgan`, whose deviations hold here too. What is made moves by feature
   matching, not by the critic's opinion, unless `model.adversarial` says so.
2. Encoder and decoder are one player and lower one loss: the game's, and the bound's distortion and rate, each with its
   weight. In Larsen et al. the encoder does not see the game, nor the decoder the rate.
3. The distortion is of pixels, not of a critic's features.
4. Fakes are both decodings of prior noise and of the unlabelled images' posterior, as in Larsen et al.; the decoder
   emits the mean of p(x|z), and no pixels are drawn.
5. Nats of an image are divided by its number of pixels, so that a weight means as much at any size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gen.capabilities import Decodes, Encodes, ImportanceWeighted, Interpolates, Reconstructs
from gen.checks import at_least
from gen.models.sgan import ClassifierGame, GameConfig
from gen.models.vae import VAE, Dense, Networks, draw_latent
from gen.objectives.kl import rates
from gen.objectives.likelihoods import Bernoulli, Density
from gen.optimizers import Adam, Optimizer
from gen.phase import Batch, Logs, Phase, Shape


class SGANVAE(ClassifierGame, Reconstructs, ImportanceWeighted, Interpolates, Decodes, Encodes):
    """A classifier, and an autoencoder whose images it is to tell from real ones."""

    config: SGANVAE.Config

    @dataclass(frozen=True)
    class Config(GameConfig):
        """Networks, latents and weights."""

        latent: int = 100  # dimensions of z
        networks: Networks = field(default_factory=Dense)  # of encoder and decoder
        likelihood: Density = field(default_factory=Bernoulli)  # p(x|z)
        reconstruction: float = 1.0  # weight of the distortion, a pixel's share
        beta: float = 1.0  # weight of the rate, a pixel's share (VAE: as that of the distortion)
        autoencoder_optimizer: Optimizer = field(default_factory=lambda: Adam(rate=1e-3))

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("latent", self.latent, 1)
            at_least("reconstruction", self.reconstruction, 0)
            at_least("beta", self.beta, 0)

        def build(self, shape: Shape) -> SGANVAE:
            return SGANVAE(self, shape)

    def __init__(self, config: SGANVAE.Config, shape: Shape) -> None:
        super().__init__()
        self.config, self.latent_size, self.pixels = config, config.latent, shape.pixels
        self.classifier = config.classifier.build(shape)
        self.autoencoder = VAE.Config(config.latent, 1.0, config.networks, likelihood=config.likelihood).build(shape)
        self.density = self.autoencoder.density
        self.unmoved = {f"autoencoder.{name}": reason for name, reason in self.autoencoder.unmoved.items()}

    def phases(self) -> Sequence[Phase]:
        return [
            Phase("classifier", self.classifier, self.classifier_loss, self.config.classifier_optimizer),
            Phase("autoencoder", self.autoencoder, self.autoencoder_loss, self.config.autoencoder_optimizer),
        ]

    def fit(self, draw: Callable[[int], Batch]) -> None:
        super().fit(draw)
        self.autoencoder.fit(lambda number: {"image": draw(number)["unlabelled"]})

    def prepare(self, batch: Batch) -> Batch:
        mean, log_variance = self.posterior(batch)
        prior, posterior = torch.randn_like(mean), draw_latent(mean, log_variance, torch.randn_like(mean))
        return {**batch, "prior": prior, "fake": self.decode_latents(torch.cat([prior, posterior]), batch)}

    def posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of q(z|x) for the unlabelled images."""
        return self.autoencoder.latent_posterior({"image": batch["unlabelled"]})

    def autoencoder_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        config, real, (mean, log_variance) = self.config, batch["unlabelled"], self.posterior(batch)
        latents = torch.cat([batch["prior"], draw_latent(mean, log_variance, torch.randn_like(mean))])  # (2 B, Z)
        output = self.autoencoder.decoder(latents)
        fake = self.autoencoder.likelihood.mean(output).view(-1, *real.shape[1:])
        distortion = self.autoencoder.likelihood.distortion(output[len(real) :], real).mean()
        rate = rates(mean, log_variance).sum(1).mean()
        game, logs = self.fooling_loss(fake, real)
        loss = game + (config.reconstruction * distortion + config.beta * rate) / self.pixels
        return loss, {**logs, "distortion": distortion, "rate": rate, "bound": distortion + rate}

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return self.autoencoder.imitate(batch)

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return self.autoencoder.reconstruct(batch)

    def bound_terms(self, batch: Batch) -> dict[str, Tensor]:
        return self.autoencoder.bound_terms(batch)

    def log_weights(self, batch: Batch) -> Tensor:
        return self.autoencoder.log_weights(batch)

    def interpolate(self, batch: Batch, steps: int) -> Tensor:
        return self.autoencoder.interpolate(batch, steps)

    def decode_latents(self, latents: Tensor, batch: Batch) -> Tensor:
        return self.autoencoder.decode_latents(latents, batch)

    def latent_posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.autoencoder.latent_posterior(batch)
