"""Improved Techniques for Training GANs, Salimans et al. 2016, https://arxiv.org/abs/1606.03498: a classifier of K
classes that is the critic of a game too, and so learns from images without labels. Its settings are those of the
paper's MNIST, 6.1; `model.classifier=convolutional` with `model.generator=convolutional` has the networks of 6.2.

Deviations from the paper:
1. As in the authors' code, the lengths of the classifier's weights are measured on 500 images and stay, but for the
   last layer's; biases begin at 0 beside a fixed shift that is measured with them.
2. Images are in [-1, 1]; the fully connected networks take them to [0, 1] and back, where the paper's work.
   BatchNorm has a gain, which the authors' code leaves out.
3. The generator moves on the unlabelled images and latents of the step's first draw, not on fresh ones. The classifier,
   frozen meanwhile, has its noise and dropout then too.
4. Feature matching is the mean over features, not their sum: the paper's, times a constant.
5. The weights of the last step are evaluated, and the rate does not fall: both are settings (`train.ema`,
   `model.classifier_optimizer.decay`), and the authors' code does both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.capabilities import Classifies, Fits, Imitates, Plays
from gen.checks import at_least, one_of
from gen.nets.classifiers import Classifier, ClassifierNetwork, Perceptron
from gen.nets.generators import GeneratorNetwork
from gen.nets.generators import Perceptron as GeneratorPerceptron
from gen.objectives.adversarial import NonSaturating, Objective
from gen.objectives.precision import upcast
from gen.objectives.semi_supervised import feature_matching, real_logit
from gen.optimizers import Adam, Optimizer
from gen.phase import Batch, Logs, Model, Phase, Shape


@dataclass(frozen=True)
class GameConfig:
    """A classifier, and what it plays for against whatever makes fakes."""

    classifier: ClassifierNetwork = field(default_factory=Perceptron)
    objective: Objective = field(default_factory=NonSaturating)  # of the game between real images and fakes
    supervised: float = 1.0  # weight of the labels' cross-entropy (1)
    unsupervised: float = 0.5  # weight of the game in the classifier's loss (the authors' code: 0.5)
    matching: float = 1.0  # weight of feature matching in the loss of what makes fakes (1)
    adversarial: float = 0.0  # weight of the objective there (0: feature matching in its place)
    classifier_optimizer: Optimizer = field(default_factory=lambda: Adam(rate=3e-3, beta1=0.5))  # (3e-3, 0.5)

    def __post_init__(self) -> None:
        for name in ("supervised", "unsupervised", "matching", "adversarial"):
            at_least(name, getattr(self, name), 0)
        if not self.matching and not self.adversarial:
            raise ValueError(
                "adversarial=0 beside model.matching=0 leaves the fakes nothing to learn by; allowed: one above 0"
            )


class ClassifierGame(Model, Imitates, Classifies, Plays, Fits):
    """A classifier that learns from few labels, and by telling unlabelled images from fakes."""

    needs = frozenset({"image", "label", "unlabelled"})
    config: GameConfig
    classifier: Classifier

    def fit(self, draw: Callable[[int], Batch]) -> None:
        self.classifier.fit(lambda number: draw(number)["unlabelled"])

    def classifier_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        config, parts = self.config, (batch["image"], batch["unlabelled"], batch["fake"])
        logits = upcast(self.classifier(torch.cat(parts)))  # in one pass: each image has its own noise
        of_labelled, of_real, of_fake = torch.split(logits, [len(part) for part in parts])  # (B, K)
        real, fake = real_logit(of_real), real_logit(of_fake)  # (B, 1)
        supervised = F.cross_entropy(of_labelled, batch["label"])  # L_supervised, section 5
        game = config.objective.critic(real, fake)  # L_unsupervised: -log D(x) - log(1 - D(G(z)))
        return config.supervised * supervised + config.unsupervised * game, {
            "supervised": supervised,
            "game": game,
            "real": real.mean(),
            "fake": fake.mean(),
            "told_apart": config.objective.accuracy(real, fake),
            "labels_right": (of_labelled.argmax(1) == batch["label"]).float().mean(),
        }

    def fooling_loss(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Logs]:
        """What fakes lower: feature matching with the images `real`, the game's objective, or both. Fakes of several
        kinds, as many of each as there are images, are matched kind by kind."""
        config, logs = self.config, Logs()
        with self.classifier.noisy(self.micro_batch is not None):
            features = self.classifier.features(fake)  # (B, F), or a multiple of it
            if config.matching:
                of_real = self.classifier.features(real)
                parts = [feature_matching(of_real, of_kind) for of_kind in torch.split(features, len(real))]
                logs["matching"] = torch.stack(parts).mean()
        if config.adversarial:
            logs["adversarial"] = config.objective.generator(real_logit(self.classifier.head(features)))
        weights = {"matching": config.matching, "adversarial": config.adversarial}
        return torch.stack([weights[name] * value for name, value in logs.items()]).sum(), logs

    @property
    def scales(self) -> Mapping[str, tuple[float, float]]:
        objective = self.config.objective
        if objective.least == -math.inf or not self.config.adversarial:  # features match whoever wins the game
            return {}
        return {"classifier/game": (objective.least, objective.undecided())}

    def classify(self, batch: Batch) -> Tensor:
        logits: Tensor = self.classifier(batch["image"])
        return logits


class SGAN(ClassifierGame):
    """A classifier, and a generator of images for it to tell from real ones."""

    config: SGAN.Config

    @dataclass(frozen=True)
    class Config(GameConfig):
        """Networks, noise and the game."""

        latent: int = 100  # dimensions of z (100)
        noise: Literal["uniform", "normal"] = "uniform"  # uniform in [-1, 1], or standard normal
        generator: GeneratorNetwork = field(default_factory=GeneratorPerceptron)
        generator_optimizer: Optimizer = field(default_factory=lambda: Adam(rate=3e-3, beta1=0.5))  # (3e-3, 0.5)

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("latent", self.latent, 1)
            one_of("noise", self.noise, ("uniform", "normal"))

        def build(self, shape: Shape) -> SGAN:
            return SGAN(self, shape)

    def __init__(self, config: SGAN.Config, shape: Shape) -> None:
        super().__init__()
        self.config = config
        self.classifier = config.classifier.build(shape)
        self.generator = config.generator.build(shape, config.latent)

    def phases(self) -> Sequence[Phase]:
        return [
            Phase("classifier", self.classifier, self.classifier_loss, self.config.classifier_optimizer),
            Phase("generator", self.generator, self.generator_loss, self.config.generator_optimizer),
        ]

    def prepare(self, batch: Batch) -> Batch:
        latent = self.latents(batch["unlabelled"])
        return {**batch, "latent": latent, "fake": self.generator(latent)}

    def latents(self, image: Tensor) -> Tensor:
        """Noise (B, Z), a row for each image in `image`."""
        latent = torch.empty(len(image), self.config.latent, device=image.device, dtype=image.dtype)
        return latent.uniform_(-1, 1) if self.config.noise == "uniform" else latent.normal_()

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        return self.fooling_loss(self.generator(batch["latent"]), batch["unlabelled"])

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": self.generator(self.latents(batch["image"]))}
