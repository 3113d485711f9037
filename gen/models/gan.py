"""Generative Adversarial Nets, Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661. Its settings make other games
of it: by the objective Least Squares GAN, Mao et al. 2016, https://arxiv.org/abs/1611.04076; by the networks DCGAN,
Radford et al. 2015, https://arxiv.org/abs/1511.06434; by the penalty WGAN-GP, Gulrajani et al. 2017,
https://arxiv.org/abs/1704.00028, and DRAGAN, Kodali et al. 2017, https://arxiv.org/abs/1705.07215; by the conditioning
Conditional GAN, Mirza and Osindero 2014, https://arxiv.org/abs/1411.1784.

Deviations from the papers:
1. Fully connected networks of ReLU and leaky ReLU, not maxout with dropout (GAN); convolutional ones are DCGAN's in
   place of each paper's own (LSGAN, WGAN-GP, DRAGAN).
2. Adam instead of SGD with momentum (GAN); PyTorch's default initialisation, but for DCGAN's networks.
3. The generator moves on the latents of the step's first draw, whose fakes the critic saw too, instead of fresh ones.
4. Uniform noise unless the entry says normal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from gen.capabilities import Conditional, Interpolates, Plays
from gen.checks import at_least, one_of
from gen.nets.adversarial import Perceptrons, last_of
from gen.nets.augmentation import Augmentation
from gen.nets.labelled import GameConditioning, NoLabel
from gen.nets.norms import has_spectra, iterate_spectra
from gen.nets.pairs import Adversaries
from gen.objectives.adversarial import NonSaturating, Objective
from gen.objectives.penalties import NoPenalty, Penalty
from gen.optimizers import Adam, Optimizer
from gen.phase import Batch, Logs, Model, Phase, Shape, nothing


class GAN(Model, Conditional, Interpolates, Plays):
    """A critic that tells images from fakes, and a generator that makes the fakes."""

    @dataclass(frozen=True)
    class Config:
        """Networks, noise and the game's objective."""

        latent: int = 96  # dimensions of z (papers: 100, 1024, 128)
        noise: Literal["uniform", "normal"] = "uniform"  # uniform in [-1, 1], or standard normal
        networks: Adversaries = field(default_factory=Perceptrons)  # of generator and critic
        objective: Objective = field(default_factory=NonSaturating)  # what the two minimise
        penalty: Penalty = field(default_factory=NoPenalty)  # on the critic (WGAN-GP: one_centred)
        conditioning: GameConditioning = field(default_factory=NoLabel)  # what both are told of the label
        augmentation: Augmentation = field(default_factory=Augmentation)  # of what the critic sees
        together: bool = False  # real images and fakes are one batch of the critic's, and of its BatchNorm's
        walk: Literal["linear", "spherical"] = "linear"  # between two latents (normal noise: spherical)
        repeats: int = 1  # critic steps for one of the generator (GAN: 1, WGAN-GP: 5)
        generator_optimizer: Optimizer = field(default_factory=lambda: Adam(rate=1e-3, beta1=0.5))
        critic_optimizer: Optimizer = field(default_factory=lambda: Adam(rate=1e-3, beta1=0.5))

        def __post_init__(self) -> None:
            at_least("latent", self.latent, 1)
            one_of("noise", self.noise, ("uniform", "normal"))
            one_of("walk", self.walk, ("linear", "spherical"))
            at_least("repeats", self.repeats, 1)

        def build(self, shape: Shape) -> GAN:
            return GAN(self, shape)

    def __init__(self, config: GAN.Config, shape: Shape) -> None:
        super().__init__()
        self.config = config
        self.condition = condition = config.conditioning
        condition.check(shape)
        self.classes, self.needs = shape.classes, Model.needs | condition.needs
        if not condition.needs:
            self.without = frozenset({Conditional})
        self.joiner = condition.joiner(shape)
        latent, planes = config.latent + self.joiner.numbers, condition.planes(shape)
        self.generator, self.critic = config.networks.build(shape, latent, planes)
        last = last_of(self.critic)
        self.reading = condition.reading(shape, last.in_features)
        self.augmenter = config.augmentation.build()
        if config.objective.idle_bias and last.bias is not None:
            self.unmoved = {f"critic.{len(self.critic) - 1}.bias": config.objective.idle_bias}

    def phases(self) -> Sequence[Phase]:
        config = self.config
        critic, generator = player(self.critic, self.reading, self.augmenter), player(self.generator, self.joiner)
        moves = config.penalty.projects or config.augmentation.noise or has_spectra(self.critic)
        after_critic = self.project_critic if moves else nothing
        after_generator = self.project_generator if has_spectra(self.generator) else nothing
        critic_phase = (critic, self.critic_loss, config.critic_optimizer, config.repeats)
        generator_phase = (generator, self.generator_loss, config.generator_optimizer)
        return [
            Phase("critic", *critic_phase, project=after_critic),
            Phase("generator", *generator_phase, project=after_generator),
        ]

    def project_critic(self) -> None:
        """Weights within their bounds, the power method one step on, one move counted for noise that fades."""
        self.config.penalty.project(self.critic.parameters())
        iterate_spectra(self.critic)
        self.augmenter.count_move()

    def project_generator(self) -> None:
        """The power method one step on."""
        iterate_spectra(self.generator)

    def prepare(self, batch: Batch) -> Batch:
        latent = self.latents(batch["image"])
        return {**batch, "latent": latent, "fake": self.generate(latent, batch)}

    def latents(self, image: Tensor) -> Tensor:
        """Noise (B, Z), a row for each image in `image`."""
        latent = torch.empty(len(image), self.config.latent, device=image.device, dtype=image.dtype)
        return latent.uniform_(-1, 1) if self.config.noise == "uniform" else latent.normal_()

    def generate(self, latent: Tensor, batch: Batch) -> Tensor:
        """Fakes (B, C, H, W) of latents (B, Z), with the labels of `batch` where the game has labels."""
        fake: Tensor = self.generator(self.joiner(latent, batch))
        return fake

    def read(self, image: Tensor, batch: Batch) -> Tensor:
        """The critic's outputs (B, 1) for images (B, C, H, W)."""
        scores: Tensor = self.reading(self.critic, image, batch)
        return scores

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        config = self.config
        real, fake = self.augmenter(batch["image"]), self.augmenter(batch["fake"])
        of_real, of_fake = self.read_both(real, fake, batch)  # (B, 1)
        game = loss = config.objective.critic(of_real, of_fake)
        logs = {"real": of_real.mean(), "fake": of_fake.mean(), "accuracy": config.objective.accuracy(of_real, of_fake)}
        if penalty := config.penalty.of(lambda image: self.read(image, batch), real, fake):
            weight, logs["penalty"] = penalty
            loss = game + weight * logs["penalty"]  # WGAN-GP, eq. 3
            logs["game"] = game
        return loss, logs

    def read_both(self, real: Tensor, fake: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The critic's outputs for images and for fakes, from one pass or from two."""
        if not self.config.together:
            return self.read(real, batch), self.read(fake, batch)
        twice = {name: torch.cat([batch[name]] * 2) for name in self.condition.needs}
        of_real, of_fake = self.read(torch.cat([real, fake]), twice).chunk(2)
        return of_real, of_fake

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        fake = self.read(self.augmenter(self.generate(batch["latent"], batch)), batch)  # (B, 1)
        return self.config.objective.generator(fake), {"fake": fake.mean()}

    def held_out(self, batch: Batch) -> Logs:
        batch = self.prepare(batch)
        loss, logs = self.critic_loss(batch)
        logs = {f"critic/held_out_{name}": value for name, value in {"loss": loss, **logs}.items()}
        return {**logs, "generator/held_out_loss": self.generator_loss(batch)[0]}

    @property
    def scales(self) -> Mapping[str, tuple[float, float]]:
        objective = self.config.objective
        if objective.least == -math.inf:
            return {}
        name = "game" if self.config.penalty.adds else "loss"
        return {f"critic/{name}": (objective.least, objective.undecided())}

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": self.generate(self.latents(batch["image"]), batch)}

    def interpolate(self, batch: Batch, steps: int) -> Tensor:
        ends = self.latents(batch["image"])
        first, second = ends[: len(ends) // 2 * 2].view(-1, 2, 1, ends.shape[1]).unbind(1)  # (P, 1, Z)
        shares = torch.linspace(0, 1, steps, device=ends.device, dtype=ends.dtype).view(1, -1, 1)
        walk = great_circle if self.config.walk == "spherical" else torch.lerp
        line = walk(first, second, shares)  # (P, steps, Z)
        labels = {name: batch[name][: 2 * len(line) : 2].repeat_interleave(steps) for name in self.condition.needs}
        images = self.generate(line.flatten(0, 1), labels)  # a line has the label of its first row
        return images.view(*line.shape[:2], *images.shape[1:])


def player(network: nn.Module, *others: nn.Module) -> nn.Module:
    """A player's network, with those of its `others` that hold numbers: vectors that it learns for labels, the count of
    its moves."""
    found = [other for other in others if other.state_dict()]
    return nn.ModuleList([network, *found]) if found else network


def great_circle(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Points between vectors (P, 1, Z) at shares (1, steps, 1) of the way, (P, steps, Z), on the arc for normal noise:
    White 2016, https://arxiv.org/abs/1609.04468, section 2.1."""
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=-1).clamp(-1, 1)[..., None]  # (P, 1, 1)
    angle = cosine.acos().clamp(1e-4, torch.pi - 1e-4)
    return (((1 - share) * angle).sin() * first + (share * angle).sin() * second) / angle.sin()
