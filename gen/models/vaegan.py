"""Autoencoding beyond pixels using a learned similarity metric, Larsen et al. 2015, https://arxiv.org/abs/1512.09300.

Deviations from the paper:
1. The players move one after another. With one critic step a step, each still descends the gradient that the paper's
   simultaneous update has: what a player sees of the others is made before any of them moves.
2. Algorithm 1 has L_GAN for a loss, of which eq. 5 is the negative. Here eq. 5 counts, which the critic raises. The
   decoder lowers -log Dis of what it makes, and not log(1 - Dis), which teaches it nothing once the critic wins;
   `objective=saturating` is the paper's.
3. The paper leaves gamma, the number of latents and the layer l open. The latents are as many as in the authors' code
   for faces. There l is a convolution; here it is what BatchNorm and ReLU make of the same one, and gamma is larger:
   with the authors' 1e-5 reconstructions come much later. That code also lets a player pause that wins by a margin,
   weighs real images otherwise, and lets the rate fall; here nothing of it.
4. Images, reconstructions and fakes are batches of their own for BatchNorm, as is usual in GANs. In the authors' code
   they are one batch (`together`), in which the critic soon tells the real ones.
5. With an objective that ignores a shift of the critic's outputs (Wasserstein), real images count twice, as both kinds
   of fakes do, or else the critic's last bias would lower the loss for ever.
6. All weights but the encoder's last begin as DCGAN's do. At other sizes than 64 x 64 the widths are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from gen.capabilities import Decodes, Encodes, Imitates, Interpolates, Plays, Reconstructs
from gen.checks import at_least
from gen.models.vae import draw_latent
from gen.nets.adversarial import hidden_ends, last_of
from gen.nets.larsen import Larsen
from gen.nets.norms import has_spectra, iterate_spectra
from gen.nets.pairs import Adversaries
from gen.objectives.adversarial import NonSaturating, Objective
from gen.objectives.kl import active_units, rates
from gen.objectives.likelihoods import unit_gaussian
from gen.objectives.precision import upcast
from gen.optimizers import Optimizer, RMSprop
from gen.phase import Batch, Logs, Model, Phase, Shape, nothing


class VAEGAN(Model, Imitates, Reconstructs, Interpolates, Decodes, Encodes, Plays):
    """An encoder q(z|x), a decoder, which is the game's generator too, and a critic, in a layer of which images and
    their reconstructions are compared."""

    @dataclass(frozen=True)
    class Config:
        """Networks, latents, weights and the game's objective."""

        latent: int = 128  # dimensions of z (authors' code: 128)
        beta: float = 1.0  # weight of the rate in the encoder's loss (1)
        gamma: float = 1e-3  # weight of the distortion, a sum over features, in the decoder's loss (authors: 1e-5)
        layer: int = 2  # of the critic, in which distortion is measured: 1 is the last hidden one, 2 the one before it
        networks: Adversaries = field(default_factory=Larsen)  # decoder and critic; the encoder is a critic too
        objective: Objective = field(default_factory=NonSaturating)  # of the game (eq. 9: saturating)
        together: bool = False  # images, reconstructions and fakes are one batch of each BatchNorm
        repeats: int = 1  # critic steps for one of the decoder (1)
        encoder_optimizer: Optimizer = field(default_factory=lambda: RMSprop(rate=3e-4))
        decoder_optimizer: Optimizer = field(default_factory=lambda: RMSprop(rate=3e-4))
        critic_optimizer: Optimizer = field(default_factory=lambda: RMSprop(rate=3e-4))

        def __post_init__(self) -> None:
            at_least("latent", self.latent, 1)
            at_least("beta", self.beta, 0)
            at_least("gamma", self.gamma, 0)
            at_least("layer", self.layer, 1)
            at_least("repeats", self.repeats, 1)

        def build(self, shape: Shape) -> VAEGAN:
            return VAEGAN(self, shape)

    def __init__(self, config: VAEGAN.Config, shape: Shape) -> None:
        super().__init__()
        self.config, self.latent_size = config, config.latent
        self.encoder = config.networks.encoder(shape, 2 * config.latent)
        self.decoder, self.critic = config.networks.build(shape, config.latent)
        ends = hidden_ends(self.critic)
        if config.layer > len(ends):
            raise ValueError(
                f"model.layer={config.layer}: this critic has {len(ends)} hidden layers; allowed: model.layer from 1 "
                f"to {len(ends)}"
            )
        self.end = ends[-config.layer]  # of the layer l, among the critic's modules
        if config.objective.shift_free and last_of(self.critic).bias is not None:
            self.unmoved = {f"critic.{len(self.critic) - 1}.bias": config.objective.idle_bias}
        self.to(memory_format=torch.channels_last)  # convolutions train faster, on a CPU too
        with torch.device("meta"):
            below = config.networks.build(shape, config.latent)[1][: self.end]
            self.values = below(torch.empty(2, shape.channels, shape.size, shape.size))[0].numel()  # of the layer l

    def phases(self) -> Sequence[Phase]:
        config = self.config
        encoder = (self.encoder, self.encoder_loss, config.encoder_optimizer)
        decoder = (self.decoder, self.decoder_loss, config.decoder_optimizer)
        critic = (self.critic, self.critic_loss, config.critic_optimizer, config.repeats)
        return [
            Phase("encoder", *encoder, project=projection(self.encoder)),
            Phase("decoder", *decoder, project=projection(self.decoder)),
            Phase("critic", *critic, project=projection(self.critic)),
        ]

    def prepare(self, batch: Batch) -> Batch:
        mean, log_variance = self.latent_posterior(batch)
        noise, prior = torch.randn_like(mean), torch.randn_like(mean)  # (B, Z)
        latent = draw_latent(mean, log_variance, noise)
        reconstruction, fake = self.apply_to(self.decoder, latent, prior)
        made = {"noise": noise, "latent": latent, "prior": prior, "reconstruction": reconstruction, "fake": fake}
        return {**batch, **made}

    def apply_to(self, network: nn.Module, *groups: Tensor) -> Sequence[Tensor]:
        """What a network makes of groups of equal size, whose rows are one batch or several."""
        if self.config.together:
            made: Tensor = network(torch.cat(groups))
            return made.chunk(len(groups))
        return [network(group) for group in groups]

    def latent_posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        mean, log_variance = upcast(self.encoder(batch["image"])).chunk(2, dim=1)
        return mean, log_variance

    def features(self, *images: Tensor) -> Sequence[Tensor]:
        """Dis_l of groups of images (B, C, H, W): what the critic's layer l makes of each."""
        return self.apply_to(self.critic[: self.end], *images)

    def outputs(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """The critic's outputs (B, 1) of what `features` gives."""
        return self.apply_to(self.critic[self.end :], *features)

    def encoder_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        mean, log_variance = self.latent_posterior(batch)
        latents = [draw_latent(mean, log_variance, batch["noise"])]
        latents += [batch["prior"]] if self.config.together else []  # which it meets in BatchNorm alone
        image, reconstruction, *_ = self.features(batch["image"], *self.apply_to(self.decoder, *latents))
        distortion = unit_gaussian(reconstruction, image).mean()  # eq. 7
        rate = rates(mean, log_variance).sum(1).mean()  # eq. 4
        logs = {"distortion": distortion, "rate": rate, "active_units": active_units(mean).to(rate)}
        return self.config.beta * rate + distortion, logs  # algorithm 1

    def decoder_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        objective = self.config.objective
        features = self.features(batch["image"], *self.apply_to(self.decoder, batch["latent"], batch["prior"]))
        distortion = unit_gaussian(features[1], features[0]).mean()  # eq. 7
        _, reconstruction, fake = self.outputs(features)
        game = objective.generator(reconstruction) + objective.generator(fake)  # eq. 10
        return self.config.gamma * distortion + game, {"distortion": distortion, "game": game}  # eq. 9

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        features = self.features(batch["image"], batch["reconstruction"], batch["fake"])
        real, reconstruction, fake = self.outputs(features)
        accuracy = self.config.objective.accuracy(real, torch.cat([reconstruction, fake]))
        logs = {"real": real.mean(), "reconstruction": reconstruction.mean(), "fake": fake.mean(), "accuracy": accuracy}
        return self.game(real, reconstruction, fake), logs

    def game(self, real: Tensor, reconstruction: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss, from its outputs (B, 1)."""
        objective = self.config.objective
        loss = objective.on_real(real) + objective.on_fake(reconstruction) + objective.on_fake(fake)  # eq. 10
        return loss + objective.on_real(real) if objective.shift_free else loss

    @property
    def scales(self) -> Mapping[str, tuple[float, float]]:
        objective, output = self.config.objective, torch.zeros(1, 1)
        if objective.least == -math.inf:
            return {}
        output += objective.boundary(output, output)
        return {"critic/loss": (objective.least, self.game(output, output, output).item())}

    @property
    def sums(self) -> Mapping[str, float]:
        return {"encoder": self.values}  # nats of an image (eq. 7)

    def decode_latents(self, latents: Tensor, batch: Batch) -> Tensor:
        image: Tensor = self.decoder(latents)
        return image

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        image = batch["image"]
        prior = torch.randn(len(image), self.latent_size, device=image.device, dtype=image.dtype)
        return {"image": self.decode_latents(prior, batch)}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": self.decode_latents(self.latent_posterior(batch)[0], batch)}

    def interpolate(self, batch: Batch, steps: int) -> Tensor:
        ends = self.latent_posterior(batch)[0]
        first, last = ends[: len(ends) // 2 * 2].view(-1, 2, 1, self.latent_size).unbind(1)  # (P, 1, Z)
        shares = torch.linspace(0, 1, steps, device=ends.device, dtype=ends.dtype).view(1, -1, 1)
        images = self.decode_latents(first.lerp(last, shares).flatten(0, 1), batch)
        return images.view(-1, steps, *images.shape[1:])


def projection(network: nn.Module) -> Callable[[], None]:
    """What is done to a player after its step: the power method one step on, if its weights are bounded by it."""
    return partial(iterate_spectra, network) if has_spectra(network) else nothing
