"""Stored weights as a model to use: `gen.load`."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor

from gen.capabilities import Conditional, Encodes, Imitates, Quantises, Reconstructs, Translates, has
from gen.checks import at_least
from gen.config import RunConfig
from gen.distributed.machine import resolve_device
from gen.engine.translate import translate_images
from gen.phase import Batch, Model, Shape
from gen.record import checkpoint
from gen.record.best import best_run
from gen.results.storage import Storage
from gen.zoo import restore

ROUND_OFF = 1e-3  # by which an image may exceed [-1, 1]


@dataclass(frozen=True)
class Trained:
    """A run's model with its best weights. Images are floats (N, C, H, W) in [-1, 1] on its device, without gradient.

    For what this class does not offer, call `model` itself, whose methods take batches: named columns of tensors.
    """

    model: Model  # in evaluation mode
    config: RunConfig
    shape: Shape  # of its images
    run: str
    epoch: float  # of these weights
    metric: str  # the figure that selected these weights ...
    value: float  # ... and its value then
    grey: Sequence[str] = ()  # columns whose images all had three equal channels, while others were in colour

    @torch.no_grad()
    def imitate(self, count: int, label: int | Sequence[int] | Tensor | None = None) -> Tensor:
        """`count` fakes. `label`: the class of each, or of all; a conditional model needs it, and no other takes it.
        ValueError if the model makes no images from noise alone, or for a count or labels that do not fit."""
        model = self.model
        if not imitates(model):
            raise ValueError(f"{self.config.entry} makes no images of its own; it can {self._can()}")
        return model.imitate(self._batch(torch.zeros(check_count(count), *self._image), label))["image"]

    @torch.no_grad()
    def reconstruct(self, images: Tensor, label: int | Sequence[int] | Tensor | None = None) -> Tensor:
        """Reconstructions of images, with labels as for `imitate`. ValueError if the model makes none, or for images or
        labels that do not fit."""
        model = self.model
        if not reconstructs(model):
            raise ValueError(f"{self.config.entry} reconstructs nothing; it can {self._can()}")
        return model.reconstruct(self._batch(images, label))["image"]

    @torch.no_grad()
    def encode(self, images: Tensor, label: int | Sequence[int] | Tensor | None = None) -> Tensor:
        """Codes (N, ...) of images, int64, or the means (N, Z) of their latents, with labels as for `imitate`.
        ValueError if the model has neither, or for images or labels that do not fit."""
        model = self.model
        if has(model, Quantises):
            return model.codes(self._batch(images, label))
        if has(model, Encodes):
            return model.latent_posterior(self._batch(images, label))[0]
        raise ValueError(f"{self.config.entry} encodes nothing; it can {self._can()}")

    @torch.no_grad()
    def translate(self, images: Tensor, to: str | None = None) -> Tensor:
        """Images (N, C, H, W) of any height and width as images of the column `to`, which may be left out where the
        model translates to one column only. ValueError if the model does not translate, for a column that it does not
        translate to, or for images that do not fit."""
        model, (_, column) = self.model, self.ways(to)
        assert has(model, Translates)
        height, width = images.shape[2:] if isinstance(images, Tensor) and images.dim() == 4 else self._image[1:]
        check_images(images, (self.shape.channels, height, width), "H, W")
        return translate_images(model, images.to(next(self.model.parameters())), column)

    def ways(self, to: str | None = None) -> tuple[str, str]:
        """The columns that `translate` takes images of, and makes images of. ValueError as there."""
        model, entry = self.model, self.config.entry
        if not has(model, Translates):
            raise ValueError(f"{entry} translates nothing; it can {self._can()}")
        columns = ", ".join(model.sources)
        if to is None and len(model.sources) > 1:
            raise ValueError(f"{entry} translates to {columns}; say which by to")
        if to is not None and to not in model.sources:
            raise ValueError(f"to={to!r} is nothing that {entry} translates to; allowed: {columns}")
        column = to or next(iter(model.sources))
        return model.sources[column], column

    @property
    def _image(self) -> tuple[int, int, int]:
        return self.shape.channels, self.shape.size, self.shape.size

    def _batch(self, images: Tensor, label: int | Sequence[int] | Tensor | None) -> Batch:
        like, name, classes = next(self.model.parameters()), self.config.entry, self.shape.classes
        check_images(images, self._image)
        batch = {"image": images.to(like)}
        if has(self.model, Conditional):
            if label is None:
                raise ValueError(f"{name} is conditional: say label=, 0 to {classes - 1}")
            batch["label"] = check_labels(label, len(images), classes).to(like.device)
        elif label is not None:
            raise ValueError(f"{name} is not conditional, and a label would change nothing; leave label= out")
        return batch

    def _can(self) -> str:
        encodes = has(self.model, Quantises) or has(self.model, Encodes)
        able = {"imitate": imitates(self.model), "reconstruct": reconstructs(self.model), "encode": encodes}
        able["translate"] = has(self.model, Translates)
        return ", ".join(name for name in able if able[name]) or "do none of these; what else it does is on `model`"


def imitates(model: Model) -> TypeGuard[Imitates]:
    """Whether a model makes images from nothing but a label; one that translates makes them from others."""
    return has(model, Imitates) and model.imitated == ("image",) and not has(model, Translates)


def reconstructs(model: Model) -> TypeGuard[Reconstructs]:
    """Whether a model reconstructs images, and not those of other columns."""
    return has(model, Reconstructs) and model.reconstructed == ("image",)


def check_count(count: Any) -> int:
    """`count`, the number of fakes. ValueError unless it is a whole number of at least 1."""
    try:
        whole = operator.index(count)
    except TypeError:
        whole = None
    if whole is None or isinstance(count, bool):
        raise ValueError(f"count={count!r} is no whole number; allowed: at least 1")
    at_least("count", whole, 1)
    return whole


def check_images(images: Any, shape: tuple[int, int, int], sides: str = "") -> None:
    """ValueError unless these are floats (N, *shape) in [-1, 1]. `sides`: what a message says of height and width."""
    wanted = f"a tensor of floats (N, {shape[0]}, {sides or f'{shape[1]}, {shape[2]}'}) in [-1, 1]"
    if not isinstance(images, Tensor):
        raise ValueError(f"images are a {type(images).__name__}; allowed: {wanted}")
    if images.shape[1:] != shape:
        raise ValueError(f"images of shape {tuple(images.shape)} do not fit; allowed: {wanted}")
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}; allowed: {wanted}; of 8 bits they are images / 127.5 - 1")
    if not (images.abs() <= 1 + ROUND_OFF).all():  # NaN fails this too
        low, high = images.min().item(), images.max().item()
        raise ValueError(
            f"images go from {low:g} to {high:g}; allowed: {wanted}; of 8 bits they are images / 127.5 - 1"
        )


def check_labels(label: Any, count: int, classes: int) -> Tensor:
    """The label (count,), int64, of each image. ValueError unless it is one class for all, or one for each."""
    allowed = f"0 to {classes - 1}, one whole number for all images or one for each"
    try:
        labels = torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"label is a {type(label).__name__} that is no array of numbers; allowed: {allowed}") from None
    if labels.shape not in ((), (count,)):
        raise ValueError(f"label has shape {tuple(labels.shape)}, the images are {count}; allowed: {allowed}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"label is {labels.dtype}; allowed: {allowed}")
    labels = labels.long()
    if (outside := labels[(labels < 0) | (labels >= classes)]).numel():
        raise ValueError(f"label={outside[0]} is out of range; allowed: {allowed}")
    return labels.expand(count)


def load_run(storage: str | Storage, experiment: str, run: str = "best", device: str | torch.device = "cpu") -> Trained:
    """As `gen.load`."""
    place = storage if isinstance(storage, Storage) else Storage(storage)
    where = device if isinstance(device, torch.device) else resolve_device(device)
    chosen = best_run(place, experiment) if run == "best" else checkpoint.find_run(place, experiment, run)
    state = checkpoint.load_best(place, experiment, chosen, where)
    config, shape = restore(state["config"]), Shape(*state["shape"])
    model = config.model.build(shape)
    if config.train.precision == "float64":
        model = model.double()
    checkpoint.put_weights(model, state["weights"], chosen)
    model.to(where).eval().requires_grad_(False)
    grey = state.get("grey", ())  # weights of earlier versions do not tell
    return Trained(model, config, shape, chosen, state["epoch"], state["metric"], state["value"], grey)
