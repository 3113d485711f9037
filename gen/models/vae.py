"""Auto-Encoding Variational Bayes, Kingma and Welling 2013, https://arxiv.org/abs/1312.6114; its beta-VAE, Higgins et
al. 2017, https://openreview.net/forum?id=Sy2fzU9gl; and conditioned on a label, Learning Structured Output
Representation using Deep Conditional Generative Models, Sohn et al. 2015 (NeurIPS).

Deviations from the papers:
1. Two or three hidden layers of ReLU instead of one of tanh; Adam instead of Adagrad; batches of 64 or 128 instead
   of 100.
2. Grey values stand in for the Bernoulli variables, as usual: not a normalised density, so bounds compare only with one
   another.
3. `beta` weighs the rate (beta-VAE, eq. 4); at 1, the default, it is the paper's bound.
4. The bound is a mean over images, not a sum.
5. The conditional model's prior is a standard normal that does not depend on the label (Sohn et al. learn p(z|y)), and
   the label joins the flattened image and the latent as a one-hot vector.
6. `Growing` has the networks of World Models (Ha and Schmidhuber 2018, https://arxiv.org/abs/1803.10122) for any image
   of 64 x 64. Inferred, so that the number of parameters agrees: biases everywhere, and no ReLU between the decoder's
   Linear layer and its first transposed convolution, as in the authors' code.
7. `Strided` has the networks of a published course report, as far as it states them. Inferred, so that the numbers of
   parameters agree: biases beside BatchNorm, padding 1 of the transposed convolutions, no activation beside the Linear
   layers. Its likelihood's variance is one number, that of the pixels of 16 batches of training images together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from gen.capabilities import (
    Conditional,
    Decodes,
    Encodes,
    Fits,
    ImportanceWeighted,
    Interpolates,
    Reconstructs,
)
from gen.checks import at_least
from gen.nets.conditioning import Conditioning, Unconditional
from gen.nets.growing import SIZE, growing_decoder, shrinking_encoder
from gen.nets.mlp import mlp
from gen.nets.normed import doublings, halvings, idle_biases
from gen.objectives.kl import active_units, rates
from gen.objectives.likelihoods import Bernoulli, Density
from gen.objectives.precision import upcast
from gen.optimizers import Adam, Optimizer
from gen.phase import Batch, Logs, Model, Phase, Shape

Pair = tuple[nn.Module, nn.Module]


@dataclass(frozen=True)
class Networks(ABC):
    """A kind of encoder and decoder."""

    kinds: ClassVar[Mapping[str, type[Networks]]]

    @abstractmethod
    def build(self, shape: Shape, latent: int, joined: int, numbers: int) -> Pair:
        """Encoder (B, pixels + joined) -> (B, 2 latent), mean and log-variance; decoder (B, latent + joined) ->
        `numbers` for each pixel, (B, numbers * C, H, W) or flattened. `joined`: numbers of the condition that join each
        row. ValueError for a shape that the networks do not take."""


@dataclass(frozen=True)
class Dense(Networks):
    """Fully connected networks; the decoder mirrors the encoder."""

    width: int = 512  # units of the encoder's first layer (paper: 500)
    depth: int = 2  # hidden layers of each network (paper: 1)
    halving: bool = True  # whether each next layer has half the units

    def __post_init__(self) -> None:
        at_least("depth", self.depth, 1, 8)
        at_least("width", self.width, 2**self.depth if self.halving else 1)

    def build(self, shape: Shape, latent: int, joined: int, numbers: int) -> Pair:
        widths = [self.width // (2**layer if self.halving else 1) for layer in range(self.depth)]
        encoder = mlp([shape.pixels + joined, *widths, 2 * latent])
        return encoder, mlp([latent + joined, *reversed(widths), numbers * shape.pixels])


@dataclass(frozen=True)
class Growing(Networks):
    """Ha and Schmidhuber 2018, https://arxiv.org/abs/1803.10122: unpadded convolutions for images of 64 x 64."""

    width: int = 32  # channels of the first layer; the next have 2, 4 and 8 times as many (World Models: 32)

    def __post_init__(self) -> None:
        at_least("width", self.width, 1)

    def build(self, shape: Shape, latent: int, joined: int, numbers: int) -> Pair:
        refuse_conditioning(joined)
        if shape.size != SIZE:
            raise ValueError(
                f"size={shape.size} is not allowed for these convolutions; scale the images: data.size={SIZE}"
            )
        encoder = shrinking_encoder(shape.channels, self.width, 2 * latent)
        return as_image(shape, encoder), growing_decoder(latent, self.width, numbers * shape.channels)


@dataclass(frozen=True)
class Strided(Networks):
    """Strided convolutions with BatchNorm and leaky ReLU, down to a sixteenth of the side, and Linear layers."""

    width: int = 32  # channels of the first layer; the next have 2, 4 and 8 times as many

    def __post_init__(self) -> None:
        at_least("width", self.width, 1)

    def build(self, shape: Shape, latent: int, joined: int, numbers: int) -> Pair:
        refuse_conditioning(joined)
        width, side = self.width, shape.size // 16
        if shape.size % 16 or not side:
            raise ValueError(f"size={shape.size} must be a multiple of 16; scale the images, such as data.size=64")
        units = 8 * width * side**2
        down, up = [width, 2 * width, 4 * width, 8 * width], [8 * width, 4 * width, 2 * width, width, width]
        encoder = nn.Sequential(halvings([shape.channels, *down]), nn.Flatten(), nn.Linear(units, 2 * latent))
        decoder = nn.Sequential(
            nn.Linear(latent, units),
            nn.Unflatten(1, (8 * width, side, side)),
            doublings(up, numbers * shape.channels),
        )
        return as_image(shape, encoder), decoder


Networks.kinds = {"dense": Dense, "growing": Growing, "strided": Strided}


def refuse_conditioning(joined: int) -> None:
    """ValueError if labels are to join the input of convolutions, which take images alone."""
    if joined:
        raise ValueError("model.conditioning=one_hot joins labels to flattened images; allowed: model.networks=dense")


def as_image(shape: Shape, encoder: nn.Module) -> nn.Sequential:
    """Flattened pixels -> what `encoder` gives for the images."""
    return nn.Sequential(nn.Unflatten(1, (shape.channels, shape.size, shape.size)), encoder)


class VAE(Model, Conditional, Reconstructs, ImportanceWeighted, Interpolates, Decodes, Encodes, Fits):
    """An encoder q(z|x), a decoder p(x|z), and one phase in which both lower distortion + beta * rate. With
    `conditioning`, q(z|x, y) and p(x|z, y)."""

    @dataclass(frozen=True)
    class Config:
        """Networks, latents and weights."""

        latent: int = 16  # dimensions of z (paper: 2 to 200)
        beta: float = 1.0  # weight of the rate (VAE: 1; beta-VAE, Higgins et al. 2017: 4 to 250)
        networks: Networks = field(default_factory=Dense)  # of encoder and decoder
        conditioning: Conditioning = field(default_factory=Unconditional)  # one_hot: a CVAE
        likelihood: Density = field(default_factory=Bernoulli)  # p(x|z)
        optimizer: Optimizer = field(default_factory=lambda: Adam(rate=1e-3))  # of both (paper: Adagrad)

        def __post_init__(self) -> None:
            at_least("latent", self.latent, 1)
            at_least("beta", self.beta, 0)

        def build(self, shape: Shape) -> VAE:
            return VAE(self, shape)

    def __init__(self, config: VAE.Config, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape, self.latent_size = config, shape, config.latent
        self.conditioning = config.conditioning.build(shape)
        self.classes = self.conditioning.numbers
        self.needs = Model.needs | config.conditioning.needs
        if not config.conditioning.needs:
            self.without = frozenset({Conditional})
        self.likelihood = config.likelihood.build()
        self.density = self.likelihood.density
        parts = (shape, config.latent, self.conditioning.numbers, self.likelihood.numbers)
        self.encoder, self.decoder = config.networks.build(*parts)
        self.to(memory_format=torch.channels_last)  # convolutions train 1.1 to 1.7 times as fast, on a CPU too
        self.unmoved = dict.fromkeys(idle_biases(self), "BatchNorm takes the mean away")

    def phases(self) -> Sequence[Phase]:
        return [Phase("autoencoder", self, self.loss, self.config.optimizer)]

    def fit(self, draw: Callable[[int], Batch]) -> None:
        self.likelihood.fit(draw)

    def latent_posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of q(z|x) = N(z; mu, sigma^2 I), eq. 9."""
        rows = self.conditioning(batch["image"].flatten(1), batch)
        mean, log_variance = upcast(self.encoder(rows)).chunk(2, dim=1)
        return mean, log_variance

    def distortion(self, latent: Tensor, batch: Batch) -> Tensor:
        """-log p(x|z) (B,) in nats."""
        return self.likelihood.distortion(self.decoder(self.conditioning(latent, batch)), batch["image"])

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        mean, log_variance = self.latent_posterior(batch)
        distortion = self.distortion(draw_latent(mean, log_variance, torch.randn_like(mean)), batch).mean()
        by_unit = rates(mean, log_variance).mean(0)  # (Z,)
        rate = by_unit.sum()
        loss = distortion + self.config.beta * rate  # eq. 10; beta-VAE's eq. 4
        logs = {"distortion": distortion, "rate": rate, "bound": distortion + rate}
        return loss, logs | {
            "active_units": active_units(mean),
            "least_rate": by_unit.min(),
            "largest_rate": by_unit.max(),
        }

    def bound_terms(self, batch: Batch) -> dict[str, Tensor]:
        mean, log_variance = self.latent_posterior(batch)
        distortion = self.distortion(draw_latent(mean, log_variance, torch.randn_like(mean)), batch)
        return {"distortion": distortion, "rate": rates(mean, log_variance).sum(1)}

    def log_weights(self, batch: Batch) -> Tensor:
        mean, log_variance = self.latent_posterior(batch)
        noise = torch.randn_like(mean)
        latent = draw_latent(mean, log_variance, noise)
        log_ratio = (noise.square() + log_variance - latent.square()).sum(1) / 2  # log p(z) - log q(z|x)
        return log_ratio - self.distortion(latent, batch)

    def decode_latents(self, latents: Tensor, batch: Batch) -> Tensor:
        return self.decode_rows(self.conditioning(latents, batch))

    def decode_rows(self, rows: Tensor) -> Tensor:
        """Mean of p(x|z), (B, C, H, W) in [-1, 1], for latents that the condition has joined."""
        image = self.likelihood.mean(self.decoder(rows))
        return image.view(-1, self.shape.channels, self.shape.size, self.shape.size)

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        image = batch["image"]
        latent = torch.randn(len(image), self.latent_size, device=image.device, dtype=image.dtype)
        return {"image": self.decode_latents(latent, batch)}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": self.decode_latents(self.latent_posterior(batch)[0], batch)}

    def interpolate(self, batch: Batch, steps: int) -> Tensor:
        rows = self.conditioning(self.latent_posterior(batch)[0], batch)  # labels are interpolated too
        first, last = rows[: len(rows) // 2 * 2].view(-1, 2, 1, rows.shape[1]).unbind(1)  # (P, 1, Z)
        share = torch.linspace(0, 1, steps, device=rows.device, dtype=rows.dtype).view(1, -1, 1)
        line = first.lerp(last, share)  # (P, steps, Z)
        images = self.decode_rows(line.flatten(0, 1))
        return images.view(-1, steps, *images.shape[1:])


def draw_latent(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z = mu + sigma * epsilon, section 2.4; all (B, Z)."""
    return mean + (log_variance / 2).exp() * noise
