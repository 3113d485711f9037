"""What the priors over codes share: a trained, frozen VQ-VAE inside, whose codes they learn and which decodes them."""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from gen.nets.codebook import Codebook
from gen.phase import Batch, Model, Quantises, Shape, StageOne


@runtime_checkable
class Decodable(Quantises, Protocol):
    """A first stage: images to codes and back."""

    codebook: Codebook

    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] of codes (B, ...)."""
        ...


class Prior(Model):
    """A model of the codes of `first`. Its phases' players are its own networks only."""

    first: Model

    def __init__(self, stage_one: StageOne | None, shape: Shape) -> None:
        super().__init__()
        if stage_one is None:
            raise ValueError("a prior needs a trained first stage; name its run by --stage-one EXPERIMENT/RUN")
        first = stage_one.model.build(shape)
        if not isinstance(first, Decodable):
            raise ValueError(
                f"run {stage_one.experiment}/{stage_one.run} is of {stage_one.entry}, which has no codes; "
                f"--stage-one needs a run of a VQ-VAE"
            )
        self.first = first.requires_grad_(False).eval()
        self.unmoved = {f"first.{name}": "the first stage is frozen" for name, _ in self.first.named_parameters()}
        blank = torch.zeros(1, shape.channels, shape.size, shape.size)
        with torch.no_grad():
            self.places = tuple(first.codes({"image": blank}).shape[1:])  # (H, W), or (N,) without a grid

    @property
    def stage(self) -> Decodable:
        """`first`, as what it can do."""
        return cast(Decodable, self.first)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Places and dimensions of the quantised latents of an image: (H, W, D)."""
        return *self.places, self.stage.codebook.config.dimensions

    def learned(self) -> int:
        return super().learned() - sum(parameter.numel() for parameter in self.first.parameters())

    def codes_of(self, batch: Batch) -> Tensor:
        """Codes (B, ...) of the batch: its column, or where it has none, those of its images."""
        return batch["codes"].long() if "codes" in batch else self.stage.codes(batch)

    def latents(self, batch: Batch) -> Tensor:
        """Quantised latents of the batch, flattened: (B, places * D)."""
        return self.stage.codebook.look_up(self.codes_of(batch)).flatten(1)

    def decode_nearest(self, latents: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] of `latents` (B, places * D), each vector replaced by its nearest code."""
        book = self.stage.codebook
        codes = book.nearest(latents.reshape(-1, book.config.dimensions))
        return self.stage.decode(codes.view(len(latents), *self.places))
