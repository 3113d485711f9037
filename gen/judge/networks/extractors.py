"""What turns images into the features that distances compare. Figures of different ones are never ranked together.

| name | network | weights |
| --- | --- | --- |
| inception | pytorch-fid's; inception_64, inception_192 and inception_768 are its earlier blocks | the published file |
| classifier | a small one; classifier:NAME is that of another set | trained on the set's labels |
| rotation | a small one | trained to tell the four rotations of the set's images |
| channel | a small one, for the classes of `stacked_mnist` alone | trained on single channels and their digits |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from gen.data.dataset import Dataset
from gen.data.known import CHANNEL_CLASSES
from gen.judge.networks import classifier as classifiers

INCEPTION = {"inception": 2048, "inception_64": 64, "inception_192": 192, "inception_768": 768}
NAMES = (*INCEPTION, "classifier", "rotation")


class Extractor(Protocol):
    """A frozen network with its protocol. `images` are float32 (N, C, H, W) in [-1, 1], already rounded to 8 bits."""

    @property
    def name(self) -> str:
        """One of `NAMES`, or "classifier:NAME"."""

    @property
    def width(self) -> int:
        """Dimensions D of the features."""

    @property
    def resize(self) -> str:
        """How images come to the network's size: "none", or the filter and the size."""

    @property
    def weights_hash(self) -> str:
        """16 hexadecimal digits."""

    def features(self, images: Tensor) -> Tensor:
        """(N, D) float32."""

    def logits(self, images: Tensor) -> Tensor:
        """(N, classes) float32."""

    def logits_of(self, features: Tensor) -> Tensor:
        """`logits` of images whose features (N, D) are at hand. ValueError if these are not the last layer's."""


Kept: TypeAlias = Callable[[str, Callable[[], bytes]], bytes]
"""(key, make) -> the bytes stored under the key, or else those of `make()`, stored first."""


def default_name(dataset: Dataset) -> str:
    """The extractor of a set where none is named: its classifier, or without labels its rotations."""
    return "classifier" if has_classes(dataset) else "rotation"


def open_extractor(
    name: str,
    dataset: Dataset,
    device: torch.device,
    *,
    column: str = "image",
    other: Dataset | None = None,
    inception_weights: str | None = None,
    kept: Kept = lambda key, make: make(),
) -> Extractor:
    """The extractor of that name for the images in `column` of `dataset`; "": its default, or `other`'s classifier.

    `other`: the set, of the same size and channels, on whose labels the classifier is trained instead.
    `inception_weights`: path of the weights, else torch hub's cache or the download. `kept` stores what is trained.
    ValueError for a name that is not known, a set without labels, another set of another shape, no weights.
    """
    name = name or ("classifier" if other else default_name(dataset))
    if name in INCEPTION:
        if other is not None:
            raise ValueError(f"{name} is not trained on {other.name}; name one extractor, not two")
        from gen.judge.networks.inception import open_inception

        return open_inception(device, INCEPTION[name], inception_weights)
    if name not in NAMES:
        raise ValueError(f"extractor {name!r} is not known; allowed: {', '.join(NAMES)}")
    source = dataset
    if other is not None:
        if (other.shape.size, other.shape.channels) != (dataset.shape.size, dataset.shape.channels):
            theirs, own = (f"{shape.channels} x {shape.size} x {shape.size}" for shape in (other.shape, dataset.shape))
            raise ValueError(
                f"the features of {other.name} are of images of {theirs}, those of {dataset.name} are {own}; "
                "the other set must have the same channels and size"
            )
        source = other
    if name == "classifier":
        classifiers.check_labelled(source)

    def make() -> bytes:
        if name == "rotation":
            return classifiers.to_bytes(classifiers.train_rotation(source, device, column))
        return classifiers.to_bytes(classifiers.train_classifier(source, device))

    recipe = classifiers.recipe_hash(source.shape, name, column if name == "rotation" else "image")
    opened = classifiers.from_bytes(kept(f"{name}-{source.hash}-{recipe}.pt", make), device)
    if other is not None:
        opened.name = f"{name}:{other.name}"
    return opened


def has_classes(dataset: Dataset) -> bool:
    """Whether the images of a set have labels of two classes or more."""
    return "label" in dataset.columns and dataset.shape.classes > 1


def teller_name(dataset: Dataset) -> str:
    """What tells the classes of a set's images: its classifier, or that of its channels where each is an image."""
    return "channel" if dataset.name in CHANNEL_CLASSES else "classifier"


def is_teller(extractor: Extractor, dataset: Dataset) -> bool:
    """Whether an extractor tells the classes of the images of `dataset` as well."""
    return extractor.name == teller_name(dataset) and has_classes(dataset)


def open_teller(dataset: Dataset, device: torch.device, kept: Kept) -> Extractor:
    """The network whose largest logit tells the class of an image of `dataset`: its own classifier.

    A classifier of the 1,000 classes of `stacked_mnist` would learn each from a hundred images. Its channels are images
    of ten classes, so one of those tells each channel's, as in the papers that use the set.
    """
    if teller_name(dataset) == "classifier":
        return open_extractor("classifier", dataset, device, kept=kept)
    classes, shape = CHANNEL_CLASSES[dataset.name], dataset.shape
    recipe = classifiers.recipe_hash(shape, "channel")
    stored = kept(
        f"channel-{dataset.hash}-{recipe}.pt",
        lambda: classifiers.to_bytes(classifiers.train_channel(dataset, device, classes)),
    )
    return classifiers.ByChannel(classifiers.from_bytes(stored, device), shape.channels)
