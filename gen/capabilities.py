"""What else a model can do: abstract classes that a model names among its bases, so that an attribute which happens to
bear the same name never turns one on. `has` asks for one; settings may take one away (`Model.without`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TypeGuard, TypeVar

from torch import Tensor

from gen.phase import Batch, Logs, Model

Ability = TypeVar("Ability")


def has(model: object, capability: type[Ability]) -> TypeGuard[Ability]:
    """Whether a model has a capability under its settings."""
    lost = model.without if isinstance(model, Model) else ()
    return isinstance(model, capability) and not any(issubclass(capability, one) for one in lost)


class Imitates(ABC):
    """Makes images of its own."""

    @abstractmethod
    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        """Fakes (B, C, H, W) in [-1, 1] for every column that the model imitates, as many as `batch` has rows."""

    @property
    def imitated(self) -> tuple[str, ...]:
        """The columns that `imitate` makes."""
        return ("image",)


class Conditional(Imitates):
    """Imitates images of the class that the batch's "label" names."""

    classes: int  # labels are 0 <= label < classes


class Translates(Imitates):
    """Imitates one column by translating the images of another. Each image gives one fake, so there are no more fakes
    than images to translate."""

    sources: Mapping[str, str]  # column of the fakes -> column of the images that they are made from
    multiple: int = 1  # pixels of which the sides of the images must be multiples
    least: int = 8  # pixels that a side of the images must have

    def translate(self, images: Tensor, column: str) -> Tensor:
        """Translations (B, C, H, W) in [-1, 1] into `column` of images (B, C, H, W) of its source, each by itself. The
        images may have another size than those that the model was built for: sides of `least` pixels or more, in
        multiples of `multiple`. By default `imitate` makes them, in all directions at once."""
        return self.imitate(dict.fromkeys(self.sources.values(), images))[column]

    @property
    def imitated(self) -> tuple[str, ...]:
        return tuple(self.sources)


class Plays(ABC):  # noqa: B024 - what phases give is enough
    """Has players, each of which lowers a loss at the expense of the others. None of these losses tells alone how the
    game goes, so the engine watches them at each tick, and the fakes of a model that imitates."""

    def held_out(self, batch: Batch) -> Logs:
        """The players' losses on held-out images, and what else they log, as scalars by "phase/held_out_NAME": what
        training logs as "phase/NAME". It moves nothing; all noise comes from torch's default generator."""
        assert isinstance(self, Model)
        found, batch = Logs(), self.prepare(batch)
        for phase in self.phases():
            loss, logs = phase.loss(batch)
            found |= {f"{phase.name}/held_out_{name}": value for name, value in {"loss": loss, **logs}.items()}
        return found

    @property
    def scales(self) -> Mapping[str, tuple[float, float]]:
        """Training's log "phase/NAME" of a player that can win -> the least that it can be, and what it is while the
        player knows nothing. A loss without a least value is not among them."""
        return {}

    @property
    def sums(self) -> Mapping[str, float]:
        """Player -> the number of values of an image over which its loss is a sum; the gradients of such a player are
        larger by that factor than the gradients of a mean. A player whose loss is a mean is not among the keys."""
        return {}


class Reconstructs(ABC):
    """Maps an image to itself through a bottleneck."""

    @abstractmethod
    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        """Reconstructions (B, C, H, W) in [-1, 1] for every column that the model reconstructs."""

    @property
    def reconstructed(self) -> tuple[str, ...]:
        """The columns that `reconstruct` makes."""
        return ("image",)


class Likelihood(ABC):
    """Bounds the log-likelihood of images."""

    density: str  # name of p(x|z): bounds under different densities do not compare

    @abstractmethod
    def bound_terms(self, batch: Batch) -> dict[str, Tensor]:
        """For each image (B,), in nats: "distortion" (the decoder's negative log-likelihood) and "rate" (the KL term).
        Neither is weighted: whatever beta the model was trained with, their sum is the negative ELBO."""


class ImportanceWeighted(Likelihood):
    """A latent variable model whose marginal likelihood can be estimated by importance sampling. Its `density` tells
    whether bits per dimension mean anything: "bernoulli" on grey values is not a normalised density."""

    @abstractmethod
    def log_weights(self, batch: Batch) -> Tensor:
        """log p(x|z) + log p(z) - log q(z|x) (B,), in nats, for one z ~ q(z|x) of each image x on the scale [-1, 1]."""


class Interpolates(ABC):
    """Has latents between which a line makes sense."""

    @abstractmethod
    def interpolate(self, batch: Batch, steps: int) -> Tensor:
        """Images (P, steps, C, H, W) in [-1, 1] along the lines between the latents of rows 2 i and 2 i + 1 of `batch`,
        P = B // 2; a model without an encoder draws the latents at random."""


class Decodes(ABC):
    """Turns latents of a standard normal prior into images."""

    latent_size: int  # Z

    @abstractmethod
    def decode_latents(self, latents: Tensor, batch: Batch) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] of latents (B, Z); `batch` holds what they are conditioned on, if anything."""


class Encodes(ABC):
    """Maps images to a diagonal Gaussian over latents."""

    latent_size: int  # Z

    @abstractmethod
    def latent_posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of q(z|x)."""


class Classifies(ABC):
    """Tells the classes of images."""

    @abstractmethod
    def classify(self, batch: Batch) -> Tensor:
        """Logits (B, classes) of the images in "image"."""


class Quantises(ABC):
    """Maps an image to codes of a finite codebook."""

    codebook_size: int  # K

    @abstractmethod
    def codes(self, batch: Batch) -> Tensor:
        """Indices of codes, (B, ...), int64 in [0, K)."""


class Embeds(Quantises):
    """Quantises by vectors: code k stands for row k of a table, and codes can be decoded to an image."""

    @abstractmethod
    def code_vectors(self) -> Tensor:
        """The codebook (K, D)."""

    @abstractmethod
    def nearest_codes(self, vectors: Tensor) -> Tensor:
        """Index (N,) of the code nearest to each of `vectors` (N, D)."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] of `codes` (B, ...)."""


class PredictsCodes(ABC):
    """Has a likelihood of the codes that a first stage gives an image."""

    @abstractmethod
    def code_nats(self, batch: Batch) -> Tensor:
        """-log p(codes) / number of codes (B,), in nats a code."""


class TwoStage(ABC):
    """Holds a frozen model, the first stage; the engine loads its trained weights before the first step."""

    first: Model  # the first stage
    stage_hash: str  # of its settings and weights: figures about codes of different first stages do not compare


class Fits(ABC):
    """Has parts that are computed in closed form, before the first step, and live in buffers."""

    @abstractmethod
    def fit(self, draw: Callable[[int], Batch]) -> None:
        """Sets the buffers from `draw(0)`, `draw(1)`, ...: batches of training images, the same on every worker."""
