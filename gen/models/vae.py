"""Auto-Encoding Variational Bayes, Kingma and Welling 2013, https://arxiv.org/abs/1312.6114; its beta-VAE, Higgins et
al. 2017, https://openreview.net/forum?id=Sy2fzU9gl; and conditioned on a label, Learning Structured Output
Representation using Deep Conditional Generative Models, Sohn et al. 2015 (NeurIPS).

Deviations from the papers:
1. Two or three hidden layers of ReLU instead of one of tanh; Adam instead of Adagrad; batches of 64 or 128 instead
   of 100.
2. Grey values stand in for the Bernoulli variables, as usual: not a normalised density, so bounds compare only with one
   another.
3. `beta` weighs the rate (beta-VAE, eq. 4); at 1, the default, it is the paper's bound.
4. The bound is a mean over images, not their sum.
5. The conditional model's prior is a standard normal that does not depend on the label (Sohn et al. learn p(z|y)), and
   the label joins the flattened image and the latent as a one-hot vector.
6. `Growing` has the networks of World Models (Ha and Schmidhuber 2018, https://arxiv.org/abs/1803.10122) for any image
   of 64 x 64. Inferred, so that the number of parameters agrees: biases everywhere, and no ReLU between the decoder's
   Linear layer and its first transposed convolution, as in the authors' code.
7. `Strided` has the networks of a published course report, as far as it states them. Inferred, so that the numbers of
   parameters agree: biases beside BatchNorm, padding 1 of the transposed convolutions, no activation about the Linear
   layers. Its likelihood's variance is one number, that of the pixels of 16 batches of training images together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen.nets.growing import SIZE, growing_decoder, shrinking_encoder
from gen.nets.mlp import mlp
from gen.nets.normed import doublings, halvings, idle_biases
from gen.objectives.kl import active_units, rates
from gen.objectives.likelihoods import LikelihoodConfig
from gen.objectives.precision import upcast
from gen.phase import Adam, Batch, Logs, Model, Optimizer, Phase, Shape, at_least, one_of

Pair = tuple[nn.Module, nn.Module]


class VAE(Model):
    """An encoder q(z|x), a decoder p(x|z), and one phase in which both lower distortion + beta * rate."""

    @dataclass(frozen=True)
    class Config:
        """What all have in common; one below for each pair of networks."""

        latent: int = 16  # dimensions of z (paper: 2 to 200)
        beta: float = 1.0  # weight of the rate (VAE: 1; beta-VAE: 4 to 250)
        likelihood: LikelihoodConfig = field(default_factory=LikelihoodConfig)
        optimizer: Optimizer = field(default_factory=lambda: Adam(rate=1e-3))

        def __post_init__(self) -> None:
            at_least("latent", self.latent, 1)
            at_least("beta", self.beta, 0)
            one_of("likelihood.kind", self.likelihood.kind, ("bernoulli", "gaussian"))

        def build(self, shape: Shape) -> VAE:
            return VAE(self, shape)

        def networks(self, shape: Shape, joined: int, numbers: int) -> Pair:
            """Encoder (B, pixels + joined) -> (B, 2 Z), mean and log-variance; decoder (B, Z + joined) -> `numbers` for
            each pixel, (B, numbers * C, H, W) or flattened."""
            raise NotImplementedError

    def __init__(self, config: VAE.Config, shape: Shape, joined: int = 0) -> None:
        super().__init__()
        self.config, self.shape, self.latent_size = config, shape, config.latent
        self.likelihood = config.likelihood.build()
        self.density = self.likelihood.density
        self.encoder, self.decoder = config.networks(shape, joined, self.likelihood.numbers)
        self.to(memory_format=torch.channels_last)  # convolutions train 1.1 to 1.7 times as fast, on a CPU too
        self.unmoved = dict.fromkeys(idle_biases(self), "BatchNorm takes the mean away")

    def phases(self) -> Sequence[Phase]:
        return [Phase("autoencoder", self, self.loss, self.config.optimizer)]

    def fit(self, draw: Callable[[int], Batch]) -> None:
        self.likelihood.fit(draw)

    def joined(self, rows: Tensor, batch: Batch) -> Tensor:
        """`rows` (B, N) with what the model is conditioned on: as it stands, nothing."""
        return rows

    def latent_posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of q(z|x) = N(z; mu, sigma^2 I), eq. 9."""
        rows = self.joined(batch["image"].flatten(1), batch)
        mean, log_variance = upcast(self.encoder(rows)).chunk(2, dim=1)
        return mean, log_variance

    def distortion(self, latent: Tensor, batch: Batch) -> Tensor:
        """-log p(x|z) (B,) in nats."""
        return self.likelihood.distortion(self.decoder(self.joined(latent, batch)), batch["image"])

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        mean, log_variance = self.latent_posterior(batch)
        distortion = self.distortion(drawn(mean, log_variance, torch.randn_like(mean)), batch).mean()
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
        distortion = self.distortion(drawn(mean, log_variance, torch.randn_like(mean)), batch)
        return {"distortion": distortion, "rate": rates(mean, log_variance).sum(1)}

    def log_weights(self, batch: Batch) -> Tensor:
        mean, log_variance = self.latent_posterior(batch)
        noise = torch.randn_like(mean)
        latent = drawn(mean, log_variance, noise)
        log_ratio = (noise.square() + log_variance - latent.square()).sum(1) / 2  # log p(z) - log q(z|x)
        return log_ratio - self.distortion(latent, batch)

    def decode_latents(self, latents: Tensor, batch: Batch) -> Tensor:
        return self.pictured(self.joined(latents, batch))

    def pictured(self, rows: Tensor) -> Tensor:
        """Mean of p(x|z) of latents that are joined already, (B, C, H, W) in [-1, 1]."""
        image = self.likelihood.mean(self.decoder(rows))
        return image.view(-1, self.shape.channels, self.shape.size, self.shape.size)

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        image = batch["image"]
        latent = torch.randn(len(image), self.latent_size, device=image.device, dtype=image.dtype)
        return {"image": self.decode_latents(latent, batch)}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": self.decode_latents(self.latent_posterior(batch)[0], batch)}

    def interpolate(self, batch: Batch, steps: int) -> Tensor:
        rows = self.joined(self.latent_posterior(batch)[0], batch)  # labels go along the line too
        first, last = rows[: len(rows) // 2 * 2].view(-1, 2, 1, rows.shape[1]).unbind(1)  # (P, 1, Z)
        share = torch.linspace(0, 1, steps, device=rows.device, dtype=rows.dtype).view(1, -1, 1)
        line = first.lerp(last, share)  # (P, steps, Z)
        images = self.pictured(line.flatten(0, 1))
        return images.view(-1, steps, *images.shape[1:])


class CVAE(VAE):
    """q(z|x, y) and p(x|z, y): the one-hot label joins the image and the latent."""

    needs = frozenset({"image", "label"})
    one_hot: Tensor  # (classes, classes)

    def __init__(self, config: VAE.Config, shape: Shape) -> None:
        if not shape.classes:
            raise ValueError("classes=0: a conditional model needs a data set with labels, such as data.name=mnist")
        super().__init__(config, shape, shape.classes)
        self.classes = shape.classes
        self.register_buffer("one_hot", torch.eye(shape.classes), persistent=False)

    def joined(self, rows: Tensor, batch: Batch) -> Tensor:
        return torch.cat([rows, F.embedding(batch["label"], self.one_hot)], dim=1)


@dataclass(frozen=True)
class Dense(VAE.Config):
    """Fully connected networks; the decoder mirrors the encoder."""

    width: int = 512  # units of the encoder's first layer (paper: 500)
    depth: int = 2  # hidden layers of each network (paper: 1)
    halving: bool = True  # whether each next layer has half the units
    conditional: bool = False  # on the label: a CVAE

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("depth", self.depth, 1, 8)
        at_least("width", self.width, 2**self.depth if self.halving else 1)

    def build(self, shape: Shape) -> VAE:
        return CVAE(self, shape) if self.conditional else VAE(self, shape)

    def networks(self, shape: Shape, joined: int, numbers: int) -> Pair:
        widths = [self.width // (2**layer if self.halving else 1) for layer in range(self.depth)]
        encoder = mlp([shape.pixels + joined, *widths, 2 * self.latent])
        return encoder, mlp([self.latent + joined, *reversed(widths), numbers * shape.pixels])


@dataclass(frozen=True)
class Growing(VAE.Config):
    """Convolutions for 64 x 64, without padding."""

    width: int = 32  # channels of the first layer; the next have 2, 4 and 8 times as many (World Models: 32)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("width", self.width, 1)

    def networks(self, shape: Shape, joined: int, numbers: int) -> Pair:
        if shape.size != SIZE:
            raise ValueError(
                f"size={shape.size} is not allowed for these convolutions; scale the images: data.size={SIZE}"
            )
        encoder = shrinking_encoder(shape.channels, self.width, 2 * self.latent)
        return as_image(shape, encoder), growing_decoder(self.latent, self.width, numbers * shape.channels)


@dataclass(frozen=True)
class Strided(VAE.Config):
    """Strided convolutions with BatchNorm and leaky ReLU, sixteenfold down, between Linear layers."""

    width: int = 32  # channels of the first layer; the next have 2, 4 and 8 times as many

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("width", self.width, 1)

    def networks(self, shape: Shape, joined: int, numbers: int) -> Pair:
        width, side = self.width, shape.size // 16
        if shape.size % 16 or not side:
            raise ValueError(f"size={shape.size} must be a multiple of 16; scale the images, such as data.size=64")
        units = 8 * width * side**2
        down, up = [width, 2 * width, 4 * width, 8 * width], [8 * width, 4 * width, 2 * width, width, width]
        encoder = nn.Sequential(halvings([shape.channels, *down]), nn.Flatten(), nn.Linear(units, 2 * self.latent))
        decoder = nn.Sequential(
            nn.Linear(self.latent, units),
            nn.Unflatten(1, (8 * width, side, side)),
            doublings(up, numbers * shape.channels),
        )
        return as_image(shape, encoder), decoder


def as_image(shape: Shape, encoder: nn.Module) -> nn.Sequential:
    """`encoder`, which takes images, for their flattened pixels."""
    return nn.Sequential(nn.Unflatten(1, (shape.channels, shape.size, shape.size)), encoder)


def drawn(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z = mu + sigma * epsilon, section 2.4; all (B, Z)."""
    return mean + (log_variance / 2).exp() * noise
