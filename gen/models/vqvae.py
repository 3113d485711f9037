"""Neural Discrete Representation Learning, van den Oord et al. 2017, https://arxiv.org/abs/1711.00937.

Deviations from the paper:
1. Hidden width 128 with residual blocks of 32 (as in the authors' published example) instead of 256.
2. Losses are means over numbers, not sums: the distortion over pixels (squared error on the scale [-0.5, 0.5], not
   divided by the data's variance, or nats if `likelihood` is one), and the commitment over B * H * W * D.
3. The codebook learns by moving averages (the paper's appendix A.1) unless `codebook.update` is "loss" (its eq. 3).
4. The codebook starts from encoder outputs of the first step, codes that are hardly used are replaced by encoder
   outputs (`codebook.revival`), and the moving averages are short at first, to keep up with an encoder that changes
   fast then (`codebook.warm_up`).
5. No prior over codes: it reconstructs and does not imitate.
6. `Strided` has the networks of a published course report, as far as it states them. Inferred, so that the numbers of
   parameters agree: paddings of 1, biases beside BatchNorm, BatchNorm and leaky ReLU after the encoder's last
   convolution too, output padding 1, and a transposed 3 x 3 of stride 1 as the last layer. It takes other sizes than
   64 if the codes' dimensions follow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from gen.capabilities import Embeds, Fits, Likelihood, Reconstructs
from gen.checks import at_least
from gen.nets.codebook import Codebook
from gen.nets.normed import doublings, halvings, idle_biases
from gen.nets.residual import Axis, quadrupling_decoder, quartering_encoder
from gen.objectives.kl import kl_to_uniform
from gen.objectives.likelihoods import Distortion, SquaredError
from gen.objectives.precision import upcast
from gen.objectives.quantisation import codebook_loss, commitment_loss, straight_through, usage
from gen.optimizers import Adam, Optimizer
from gen.phase import Batch, Logs, Model, Phase, Shape

Pair = tuple[nn.Module, nn.Module]


@dataclass(frozen=True)
class Networks(ABC):
    """A kind of encoder and decoder."""

    kinds: ClassVar[Mapping[str, type[Networks]]]

    @abstractmethod
    def build(self, shape: Shape, dimensions: int, numbers: int) -> Pair:
        """Encoder (B, C, H, W) -> vectors (B, ..., dimensions); decoder of these -> (B, numbers * C, H, W). ValueError
        for a shape that the networks do not take."""


@dataclass(frozen=True)
class Quartering(Networks):
    """The paper's networks, with residual blocks; codes lie on a grid with a quarter of the image's side."""

    hidden: int = 128  # channels of the hidden layers (256)
    residual: int = 32  # channels inside a residual block (256)
    blocks: int = 2  # residual blocks of each network (2)

    def __post_init__(self) -> None:
        at_least("hidden", self.hidden, 2)
        at_least("residual", self.residual, 1)
        at_least("blocks", self.blocks, 0)

    def build(self, shape: Shape, dimensions: int, numbers: int) -> Pair:
        if shape.size % 4:
            raise ValueError(
                f"size={shape.size} must be a multiple of 4 for vqvae; scale the images, such as data.size=28"
            )
        sizes = (self.hidden, self.residual, self.blocks)
        encoder = quartering_encoder(shape.channels, *sizes, dimensions)
        decoder = quadrupling_decoder(dimensions, *sizes, numbers * shape.channels)
        return nn.Sequential(*encoder, Axis(1, -1)), nn.Sequential(Axis(-1, 1), *decoder)


@dataclass(frozen=True)
class Strided(Networks):
    """Strided convolutions with BatchNorm and leaky ReLU, down to a sixteenth of the image's side. Each channel's whole
    map is one vector, so codes have no grid; at 64 x 64 a vector has 4 x 4 = 16 dimensions."""

    width: int = 32  # channels of the first layer; the others have 2, 4 and 4 times as many

    def __post_init__(self) -> None:
        at_least("width", self.width, 2)

    def build(self, shape: Shape, dimensions: int, numbers: int) -> Pair:
        width, side = self.width, shape.size // 16
        if shape.size % 16 or not side or dimensions != side**2:
            raise ValueError(
                f"size={shape.size} with model.codebook.dimensions={dimensions} is not allowed: the size "
                f"must be a multiple of 16, and the dimensions (size / 16)^2, such as data.size=64 with 16"
            )
        down, up = [width, 2 * width, 4 * width, 4 * width], [4 * width, 2 * width, width, width // 2, width // 2]
        encoder = nn.Sequential(halvings([shape.channels, *down]), nn.Flatten(2))
        decoder = nn.Sequential(nn.Unflatten(2, (side, side)), doublings(up, numbers * shape.channels))
        return encoder, decoder


Networks.kinds = {"quartering": Quartering, "strided": Strided}


class VQVAE(Model, Reconstructs, Embeds, Likelihood, Fits):
    """An autoencoder whose bottleneck is codes: for each image the same number of them, as a grid or in a row.

    If its distortion is a likelihood, it has the bound of section 3.1 on log p(x).
    """

    @dataclass(frozen=True)
    class Config:
        """Networks, codebook and weights."""

        beta: float = 0.25  # weight of the commitment (0.25)
        networks: Networks = field(default_factory=Quartering)  # of encoder and decoder
        codebook: Codebook.Config = field(default_factory=Codebook.Config)
        likelihood: Distortion = field(default_factory=SquaredError)  # of an image given its codes
        optimizer: Optimizer = field(default_factory=lambda: Adam(rate=2e-4))  # (2e-4)

        def __post_init__(self) -> None:
            at_least("beta", self.beta, 0)

        def build(self, shape: Shape) -> VQVAE:
            return VQVAE(self, shape)

    def __init__(self, config: VQVAE.Config, shape: Shape) -> None:
        super().__init__()
        self.config = config
        self.likelihood = config.likelihood.build()
        self.density = self.likelihood.density
        if not config.likelihood.in_nats:
            self.without = frozenset({Likelihood})
        parts = (shape, config.codebook.dimensions, self.likelihood.numbers)
        self.encoder, self.decoder = config.networks.build(*parts)
        self.codebook = Codebook(config.codebook)
        self.codebook_size = config.codebook.codes
        self.to(memory_format=torch.channels_last)  # convolutions train 1.1 to 1.3 times as fast, on a CPU too
        self.unmoved = dict.fromkeys(idle_biases(self), "BatchNorm takes the mean away")

    def count_learned(self) -> int:
        return super().count_learned() + self.codebook.count_learned()

    def fit(self, draw: Callable[[int], Batch]) -> None:
        self.likelihood.fit(draw)

    def phases(self) -> Sequence[Phase]:
        book = self.codebook
        return [Phase("autoencoder", self, self.loss, self.config.optimizer, sums=book.sums, project=book.project)]

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        image = batch["image"]
        vectors = self.encode(image)  # (B, ..., D): z_e(x)
        rows = vectors.flatten(0, -2)  # (N, D)
        indices = self.codebook.nearest(rows)  # (N,): eq. 1
        if self.micro_batch:
            self.codebook.observe(rows, indices, self.micro_batch)
        codes = self.codebook.look_up(indices).view_as(vectors)  # (B, ..., D): eq. 2
        output = self.decoder(straight_through(vectors, codes))
        distortion = self.likelihood.distortion(output, image).mean()  # of an image
        commitment = commitment_loss(vectors, codes)
        loss = distortion / image[0].numel() + self.config.beta * commitment  # eq. 3 ...
        if self.config.codebook.update == "loss":
            loss = loss + codebook_loss(vectors, codes)  # ... with its second term
        perplexity, used = usage(indices, self.codebook_size)
        logs = self.figures(distortion, image[0].numel(), vectors.shape[1:-1].numel())
        logs |= {"commitment": commitment, "perplexity": perplexity, "used": used}
        return loss, logs | {"revived": self.codebook.revived.clone()}

    def figures(self, distortion: Tensor, pixels: int, places: int) -> Logs:
        """The logs that follow from the mean distortion of an image, named and scaled as the held-out figures are."""
        if not self.config.likelihood.in_nats:
            return {"mse": distortion / pixels}
        rate = torch.full_like(distortion, kl_to_uniform(places, self.codebook_size))
        return {"distortion": distortion, "rate": rate, "bound": distortion + rate}

    def encode(self, image: Tensor) -> Tensor:
        """Encoder outputs (B, ..., D) of images (B, C, H, W)."""
        return upcast(self.encoder(image))

    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] of `codes` (B, ...)."""
        return self.likelihood.mean(self.decoder(self.codebook.look_up(codes)))

    def codes(self, batch: Batch) -> Tensor:
        vectors = self.encode(batch["image"])
        return self.codebook.nearest(vectors.flatten(0, -2)).view(vectors.shape[:-1])

    def code_vectors(self) -> Tensor:
        return self.codebook.vectors

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": self.decode(self.codes(batch))}

    def nearest_codes(self, vectors: Tensor) -> Tensor:
        return self.codebook.nearest(vectors)

    def bound_terms(self, batch: Batch) -> dict[str, Tensor]:
        codes = self.codes(batch)
        output = self.decoder(self.codebook.look_up(codes))
        rate = kl_to_uniform(codes[0].numel(), self.codebook_size)
        return {
            "distortion": self.likelihood.distortion(output, batch["image"]),
            "rate": torch.full((len(codes),), rate, device=codes.device),
        }
