"""A classifier alone: what a semi-supervised game with the same network is to be compared with. The network is that of
Improved Techniques for Training GANs, Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 6.

Deviations from the paper:
1. It learns from the labelled images alone, by cross-entropy: no generator, no unlabelled images.
2. What `gen.models.sgan` says of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional as F

from gen.capabilities import Classifies, Fits
from gen.nets.classifiers import ClassifierNetwork, Perceptron
from gen.objectives.precision import upcast
from gen.optimizers import Adam, Optimizer
from gen.phase import Batch, Logs, Model, Phase, Shape


class Teller(Model, Classifies, Fits):
    """A network that tells the classes of images."""

    needs = frozenset({"image", "label"})

    @dataclass(frozen=True)
    class Config:
        """Network and optimiser."""

        classifier: ClassifierNetwork = field(default_factory=Perceptron)
        classifier_optimizer: Optimizer = field(default_factory=lambda: Adam(rate=3e-3, beta1=0.5))  # (3e-3, 0.5)

        def build(self, shape: Shape) -> Teller:
            return Teller(self, shape)

    def __init__(self, config: Teller.Config, shape: Shape) -> None:
        super().__init__()
        self.config = config
        self.classifier = config.classifier.build(shape)

    def phases(self) -> Sequence[Phase]:
        return [Phase("classifier", self.classifier, self.loss, self.config.classifier_optimizer)]

    def fit(self, draw: Callable[[int], Batch]) -> None:
        self.classifier.fit(lambda number: draw(number)["image"])

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        logits = upcast(self.classifier(batch["image"]))  # (B, K)
        right = (logits.argmax(1) == batch["label"]).float().mean()
        return F.cross_entropy(logits, batch["label"]), {"labels_right": right}

    def classify(self, batch: Batch) -> Tensor:
        logits: Tensor = self.classifier(batch["image"])
        return logits
