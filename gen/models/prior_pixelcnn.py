"""Conditional Image Generation with PixelCNN Decoders, van den Oord et al. 2016, https://arxiv.org/abs/1606.05328, over
the codes of a VQ-VAE, as in section 4.1 of https://arxiv.org/abs/1711.00937.

Deviations from the paper:
1. It models the grid of a frozen VQ-VAE's codes, embedded, instead of pixels and their channels.
2. Its stacks are causal by shifts, and zeros on the sides, instead of by masks: no weight is multiplied by zero.
3. Width 64, 8 layers and reach 2 (5 x 5, 1 x 5) instead of 384, 20 and 5 x 5: grids of 7 x 7 and 8 x 8 are small.
4. Adam at 1e-3 instead of RMSprop, on one machine instead of 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional as F

from gen.capabilities import Conditional, PredictsCodes
from gen.checks import at_least
from gen.config.model import TwoStageConfig
from gen.models.prior import Prior
from gen.nets.pixelcnn import PixelCNN
from gen.objectives.precision import upcast
from gen.optimizers import Adam, Optimizer
from gen.phase import Batch, Logs, Phase, Shape


class PixelCNNPrior(Prior, Conditional, PredictsCodes):
    """p(codes | class), one code after another, and the frozen VQ-VAE that decodes them."""

    @dataclass(frozen=True)
    class Config(TwoStageConfig):
        """Sizes."""

        width: int = 64  # channels of the stacks (384)
        layers: int = 8  # of both stacks (20)
        reach: int = 2  # places that a layer sees to each side and above (2)
        head: int = 256  # channels between the last layer and the logits (1024)
        optimizer: Optimizer = field(default_factory=lambda: Adam(rate=1e-3))

        def __post_init__(self) -> None:
            at_least("width", self.width, 1)
            at_least("layers", self.layers, 1, 64)
            at_least("reach", self.reach, 1, 8)
            at_least("head", self.head, 1)

        def build(self, shape: Shape) -> PixelCNNPrior:
            return PixelCNNPrior(self, shape)

    def __init__(self, config: PixelCNNPrior.Config, shape: Shape) -> None:
        super().__init__(config.stage_one, shape)
        if len(self.places) != 2:
            assert config.stage_one is not None
            raise ValueError(
                f"a PixelCNN needs codes on a grid, those of {config.stage_one.entry} have none: "
                f"use vqvae_gmm or vqvae_vae, or a --stage-one of vqvae"
            )
        self.config = config
        sizes = (config.width, config.layers, config.reach, config.head)
        self.network = PixelCNN(self.stage.codebook_size, *sizes, shape.classes)
        self.classes = shape.classes
        if shape.classes:
            self.needs = self.needs | {"label"}
        else:
            self.without = frozenset({Conditional})

    def phases(self) -> Sequence[Phase]:
        return [Phase("prior", self.network, self.loss, self.config.optimizer)]

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        nats = self.code_nats(batch).mean()
        return nats, {"code_nats": nats}

    def code_nats(self, batch: Batch) -> Tensor:
        """-log p(codes | class) / number of codes (B,), in nats a code: eq. 1 and 3."""
        codes = self.codes_of(batch)
        logits = upcast(self.network(codes, batch.get("label")))  # (B, K, H, W)
        return F.cross_entropy(logits, codes, reduction="none").flatten(1).mean(1)

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        height, width = self.places
        codes = self.network.sample(len(batch["image"]), height, width, batch.get("label"))
        return {"image": self.stage.decode(codes)}
