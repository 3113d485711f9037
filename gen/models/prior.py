"""What the priors over codes share: a trained, frozen VQ-VAE inside, which gives the codes and decodes them."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.capabilities import Embeds, TwoStage, has
from gen.config.model import StageOne
from gen.phase import Batch, Model, Shape


class Prior(Model, TwoStage):
    """A model of the codes that a frozen first stage, `first`, gives. Only its own networks are players of phases."""

    def __init__(self, stage_one: StageOne | None, shape: Shape) -> None:
        super().__init__()
        if stage_one is None:
            raise ValueError("a prior needs a trained first stage; name its run by --stage-one EXPERIMENT/RUN")
        first = stage_one.model.build(shape).requires_grad_(False).eval()
        self.first: Model = first
        if not has(first, Embeds):
            raise ValueError(
                f"run {stage_one.experiment}/{stage_one.run} is of {stage_one.entry}, which has no codes; "
                f"--stage-one needs a run of a VQ-VAE"
            )
        self.stage_hash = stage_one.hash
        self.unmoved = {f"first.{name}": "the first stage is frozen" for name, _ in self.first.named_parameters()}
        blank = torch.zeros(1, shape.channels, shape.size, shape.size)
        with torch.no_grad():
            self.places = tuple(self.stage.codes({"image": blank}).shape[1:])  # (H, W), or (N,) if codes have no grid

    @property
    def stage(self) -> Embeds:
        """The first stage, with the methods of its capability."""
        return cast(Embeds, self.first)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of an image's quantised latents: places of its codes and their dimensions, (H, W, D)."""
        return *self.places, self.stage.code_vectors().shape[1]

    def count_learned(self) -> int:
        return super().count_learned() - sum(parameter.numel() for parameter in self.first.parameters())

    def codes_of(self, batch: Batch) -> Tensor:
        """Codes (B, ...) of the batch: its column "codes", or else the codes of its images."""
        return batch["codes"].long() if "codes" in batch else self.stage.codes(batch)

    def latents(self, batch: Batch) -> Tensor:
        """Quantised latents of the batch, flattened: (B, places * D)."""
        return F.embedding(self.codes_of(batch), self.stage.code_vectors()).flatten(1)

    def decode_nearest(self, latents: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] of `latents` (B, places * D), each vector replaced by its nearest code."""
        codes = self.stage.nearest_codes(latents.reshape(-1, self.latent_shape[-1]))
        return self.stage.decode(codes.view(len(latents), *self.places))
