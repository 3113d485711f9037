"""Stored weights as a model to use: `gen.load`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gen.capabilities import Conditional, Encodes, Imitates, Quantises, Reconstructs, has
from gen.config import RunConfig
from gen.distributed.machine import resolve_device
from gen.phase import Batch, Model, Shape
from gen.record import checkpoint
from gen.results.best import best_run
from gen.results.storage import Storage
from gen.zoo import restore


@dataclass(frozen=True)
class Trained:
    """A run's best weights. Images are floats (N, C, H, W) in [-1, 1], on the model's device; no gradient is kept.

    What is not offered here is on `model`, whose methods take batches: named columns of tensors.
    """

    model: Model  # in evaluation mode
    config: RunConfig
    shape: Shape  # of its images
    run: str
    epoch: float  # of these weights
    metric: str  # that selected them ...
    value: float  # ... and its value then

    @torch.no_grad()
    def imitate(self, count: int, label: int | Sequence[int] | Tensor | None = None) -> Tensor:
        """`count` fakes. `label`: the class of each, or of all; a conditional model needs it. ValueError if the model
        makes no images of its own from nothing, or if the labels do not fit."""
        model = self.model
        if not has(model, Imitates) or model.imitated != ("image",):
            raise ValueError(f"{self.config.entry} makes no images of its own; it can {self._can()}")
        return model.imitate(self._batch(torch.zeros(count, *self._image), label))["image"]

    @torch.no_grad()
    def reconstruct(self, images: Tensor, label: int | Sequence[int] | Tensor | None = None) -> Tensor:
        """Reconstructions of images. ValueError if the model makes none."""
        model = self.model
        if not has(model, Reconstructs):
            raise ValueError(f"{self.config.entry} reconstructs nothing; it can {self._can()}")
        return model.reconstruct(self._batch(images, label))["image"]

    @torch.no_grad()
    def encode(self, images: Tensor, label: int | Sequence[int] | Tensor | None = None) -> Tensor:
        """Codes (N, ...) of images, int64, or the means (N, Z) of their latents. ValueError if the model has none."""
        model = self.model
        if has(model, Quantises):
            return model.codes(self._batch(images, label))
        if has(model, Encodes):
            return model.latent_posterior(self._batch(images, label))[0]
        raise ValueError(f"{self.config.entry} encodes nothing; it can {self._can()}")

    @property
    def _image(self) -> tuple[int, int, int]:
        return self.shape.channels, self.shape.size, self.shape.size

    def _batch(self, images: Tensor, label: int | Sequence[int] | Tensor | None) -> Batch:
        like = next(self.model.parameters())
        if images.shape[1:] != self._image:
            raise ValueError(f"images of shape {tuple(images.shape)} do not fit; allowed: (N, {self._image})")
        batch = {"image": images.to(like)}
        if label is not None:
            labels = torch.as_tensor(label, device=like.device).expand(len(images))
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.shape.classes:
                raise ValueError(f"label={label} is out of range; allowed: 0 to {self.shape.classes - 1}")
            batch["label"] = labels.long()
        elif has(self.model, Conditional):
            raise ValueError(f"{self.config.entry} is conditional: say label=, 0 to {self.shape.classes - 1}")
        return batch

    def _can(self) -> str:
        abilities = (("imitate", Imitates), ("reconstruct", Reconstructs), ("encode", Quantises), ("encode", Encodes))
        names = dict.fromkeys(name for name, ability in abilities if has(self.model, ability))
        return ", ".join(names) or "do none of these"


def load_run(storage: str | Storage, experiment: str, run: str = "best", device: str | torch.device = "cpu") -> Trained:
    """As `gen.load`."""
    place = storage if isinstance(storage, Storage) else Storage(storage)
    where = device if isinstance(device, torch.device) else resolve_device(device)
    chosen = best_run(place, experiment) if run == "best" else run
    state = checkpoint.load_best(place, experiment, chosen, where)
    config, shape = restore(state["config"]), Shape(*state["shape"])
    model = config.model.build(shape)
    if config.train.precision == "float64":
        model = model.double()
    model.load_state_dict(state["weights"])
    model.to(where).eval().requires_grad_(False)
    return Trained(model, config, shape, chosen, state["epoch"], state["metric"], state["value"])
