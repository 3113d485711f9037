"""Neural Discrete Representation Learning, van den Oord et al. 2017, https://arxiv.org/abs/1711.00937.

Deviations from the paper:
1. Hidden width 128 with residual blocks of 32 (as in the authors' published example) instead of 256.
2. Losses are means over numbers, not sums: the squared error of pixels on the scale [-0.5, 0.5], not divided by the
   data's variance, and the commitment over B * H * W * D.
3. The codebook learns by moving averages (the paper's appendix A.1) unless `codebook.update` is "loss" (its eq. 3).
4. It starts from encoder outputs of the first step, codes hardly used are replaced by encoder outputs, and the moving
   averages start short, to keep up with an encoder that starts fast (`codebook.revival`, `codebook.warm_up`).
5. No prior over codes: it reconstructs and does not imitate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from gen.nets.codebook import Codebook
from gen.nets.residual import quadrupling_decoder, quartering_encoder
from gen.objectives.likelihoods import SquaredError
from gen.objectives.precision import upcast
from gen.objectives.quantisation import codebook_loss, commitment_loss, straight_through, usage
from gen.phase import Adam, Batch, Logs, Model, Optimizer, Phase, Shape, at_least


class VQVAE(Model):
    """An autoencoder whose bottleneck is a grid, a quarter of the image's size, of codes."""

    @dataclass(frozen=True)
    class Config:
        """Sizes and weights."""

        hidden: int = 128  # channels of the hidden layers (256)
        residual: int = 32  # channels inside a residual block (256)
        blocks: int = 2  # residual blocks of each network (2)
        beta: float = 0.25  # weight of the commitment (0.25)
        codebook: Codebook.Config = field(default_factory=Codebook.Config)
        likelihood: SquaredError = field(default_factory=SquaredError)
        optimizer: Optimizer = field(default_factory=lambda: Adam(rate=2e-4))  # (2e-4)

        def __post_init__(self) -> None:
            at_least("hidden", self.hidden, 2)
            at_least("residual", self.residual, 1)
            at_least("blocks", self.blocks, 0)
            at_least("beta", self.beta, 0)

        def build(self, shape: Shape) -> VQVAE:
            return VQVAE(self, shape)

    def __init__(self, config: VQVAE.Config, shape: Shape) -> None:
        super().__init__()
        if shape.size % 4:
            raise ValueError(
                f"size={shape.size} must be a multiple of 4 for vqvae; scale the images, such as data.size=28"
            )
        self.config = config
        sizes = (config.hidden, config.residual, config.blocks)
        self.encoder = quartering_encoder(shape.channels, *sizes, config.codebook.dimensions)
        self.codebook = Codebook(config.codebook)
        self.decoder = quadrupling_decoder(config.codebook.dimensions, *sizes, shape.channels)
        self.codebook_size = config.codebook.codes

    def learned(self) -> int:
        return super().learned() + self.codebook.learned()

    def phases(self) -> Sequence[Phase]:
        book = self.codebook
        return [Phase("autoencoder", self, self.loss, self.config.optimizer, sums=book.sums, project=book.project)]

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        vectors = self.encode(batch["image"])  # (B, H/4, W/4, D): z_e(x)
        rows = vectors.flatten(0, 2)  # (N, D)
        indices = self.codebook.nearest(rows)  # (N,): eq. 1
        if self.training and "micro_batch" in batch:
            self.codebook.observe(rows, indices, batch["micro_batch"])
        codes = self.codebook.look_up(indices).view_as(vectors)  # (B, H/4, W/4, D): eq. 2
        output = self.decoder(straight_through(vectors, codes).permute(0, 3, 1, 2))  # (B, C, H, W)
        distortion = self.config.likelihood.distortion(output, batch["image"]).mean()
        commitment = commitment_loss(vectors, codes)
        loss = distortion + self.config.beta * commitment  # eq. 3 ...
        if self.config.codebook.update == "loss":
            loss = loss + codebook_loss(vectors, codes)  # ... with its second term
        perplexity, used = usage(indices, self.codebook_size)
        logs = {"distortion": distortion, "commitment": commitment, "perplexity": perplexity, "used": used}
        return loss, logs | {"revived": self.codebook.revived.clone()}

    def encode(self, image: Tensor) -> Tensor:
        """Encoder outputs (B, H/4, W/4, D) of images (B, C, H, W)."""
        return upcast(self.encoder(image)).permute(0, 2, 3, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] of `codes` (B, H/4, W/4)."""
        return self.config.likelihood.mean(self.decoder(self.codebook.look_up(codes).permute(0, 3, 1, 2)))

    def codes(self, batch: Batch) -> Tensor:
        vectors = self.encode(batch["image"])
        return self.codebook.nearest(vectors.flatten(0, 2)).view(vectors.shape[:3])

    def code_vectors(self) -> Tensor:
        return self.codebook.vectors

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": self.decode(self.codes(batch))}
