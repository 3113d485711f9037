"""Generative Adversarial Nets, Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661; by their objective also Least
Squares GAN, Mao et al. 2016, https://arxiv.org/abs/1611.04076; and with a penalty WGAN-GP, Improved Training of
Wasserstein GANs, Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028.

Deviations from the papers:
1. Fully connected networks of ReLU and leaky ReLU, not maxout with dropout (GAN) or convolutions (LSGAN, WGAN-GP).
2. Adam instead of SGD with momentum (GAN); PyTorch's default initialisation.
3. The generator moves on the latents of the step's first draw, whose fakes the critic saw too, instead of fresh ones.
4. Uniform noise for all; the WGAN-GP paper has normal noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from gen.capabilities import Imitates, Interpolates
from gen.checks import at_least, one_of
from gen.nets.adversarial import Adversaries, Perceptrons
from gen.objectives.adversarial import NonSaturating, Objective
from gen.objectives.penalties import NoPenalty, Penalty
from gen.optimizers import Adam, Optimizer
from gen.phase import Batch, Logs, Model, Phase, Shape


class GAN(Model, Imitates, Interpolates):
    """A critic that tells images from fakes, and a generator that makes the fakes."""

    @dataclass(frozen=True)
    class Config:
        """Networks, noise and the game's objective."""

        latent: int = 96  # dimensions of z (papers: 100, 1024, 128)
        noise: Literal["uniform", "normal"] = "uniform"  # uniform in [-1, 1], or standard normal
        networks: Adversaries = field(default_factory=Perceptrons)  # of generator and critic
        objective: Objective = field(default_factory=NonSaturating)  # what the two minimise
        penalty: Penalty = field(default_factory=NoPenalty)  # on the critic (WGAN-GP: one_centred)
        repeats: int = 1  # critic steps for one of the generator (GAN: 1, WGAN-GP: 5)
        generator_optimizer: Optimizer = field(default_factory=lambda: Adam(rate=1e-3, beta1=0.5))
        critic_optimizer: Optimizer = field(default_factory=lambda: Adam(rate=1e-3, beta1=0.5))

        def __post_init__(self) -> None:
            at_least("latent", self.latent, 1)
            one_of("noise", self.noise, ("uniform", "normal"))
            at_least("repeats", self.repeats, 1)

        def build(self, shape: Shape) -> GAN:
            return GAN(self, shape)

    def __init__(self, config: GAN.Config, shape: Shape) -> None:
        super().__init__()
        self.config = config
        self.generator, self.critic = config.networks.build(shape, config.latent)
        if config.objective.shift_free:
            last = f"critic.{len(self.critic) - 1}.bias"
            self.unmoved = {last: "it cancels between real images and fakes, and no gradient penalty sees it"}

    def phases(self) -> Sequence[Phase]:
        config = self.config
        return [
            Phase("critic", self.critic, self.critic_loss, config.critic_optimizer, config.repeats),
            Phase("generator", self.generator, self.generator_loss, config.generator_optimizer),
        ]

    def prepare(self, batch: Batch) -> Batch:
        latent = self.latents(batch["image"])
        return {**batch, "latent": latent, "fake": self.generator(latent)}

    def latents(self, image: Tensor) -> Tensor:
        """Noise (B, Z), a row for each image in `image`."""
        latent = torch.empty(len(image), self.config.latent, device=image.device, dtype=image.dtype)
        return latent.uniform_(-1, 1) if self.config.noise == "uniform" else latent.normal_()

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        real, fake = self.critic(batch["image"]), self.critic(batch["fake"])  # (B, 1)
        loss = self.config.objective.critic(real, fake)
        logs = {"real": real.mean(), "fake": fake.mean()}
        if penalty := self.config.penalty.of(self.critic, batch["image"], batch["fake"]):
            weight, logs["penalty"] = penalty
            loss = loss + weight * logs["penalty"]  # WGAN-GP, eq. 3
        return loss, logs

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        fake = self.critic(self.generator(batch["latent"]))  # (B, 1)
        return self.config.objective.generator(fake), {"fake": fake.mean()}

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": self.generator(self.latents(batch["image"]))}

    def interpolate(self, batch: Batch, steps: int) -> Tensor:
        ends = self.latents(batch["image"])
        first, second = ends[0 : len(ends) // 2 * 2 : 2, None], ends[1::2, None]  # (P, 1, Z)
        shares = torch.linspace(0, 1, steps, device=ends.device, dtype=ends.dtype).view(1, -1, 1)
        line = torch.lerp(first, second, shares)  # (P, steps, Z)
        images: Tensor = self.generator(line.flatten(0, 1))
        return images.view(*line.shape[:2], *images.shape[1:])
