"""Where images come from: the one table of names, and the two ways to name a place. A source loads raw tables, which
`gen.data.dataset` resizes, splits and caches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gen.checks import nearest
from gen.data.folders import load_images, load_unpaired
from gen.data.known import (
    load_batches,
    load_digits,
    load_dsprites,
    load_idx,
    load_stacked,
    load_svhn,
    load_svhn_extra,
    torchvision_loader,
)
from gen.data.known_folders import load_celeba, load_imagenette, load_tiny_imagenet
from gen.data.places import normal
from gen.data.raw import Raw, Source

SOURCES: dict[str, Source] = {
    "digits": Source(load_digits),
    "mnist": Source(torchvision_loader("MNIST", load_idx), ("MNIST/raw/*-ubyte*",)),
    "fashion_mnist": Source(torchvision_loader("FashionMNIST", load_idx), ("FashionMNIST/raw/*-ubyte*",)),
    "stacked_mnist": Source(torchvision_loader("MNIST", load_stacked), ("MNIST/raw/*-ubyte*",)),
    "cifar10": Source(torchvision_loader("CIFAR10", load_batches), ("cifar-10-python.tar.gz", "cifar-10-batches-py/*")),
    "svhn": Source(torchvision_loader("SVHN", load_svhn), ("train_32x32.mat", "test_32x32.mat")),
    "svhn_extra": Source(torchvision_loader("SVHN", load_svhn_extra), ("*_32x32.mat",)),
    "celeba": Source(load_celeba, ("celeba", "celeba/*")),
    "dsprites": Source(load_dsprites, ("dsprites_*.npz",)),
    "imagenette": Source(load_imagenette, ("imagenette2*", "imagenette2*/*/*")),
    "tiny_imagenet": Source(load_tiny_imagenet, ("tiny-imagenet*", "tiny-imagenet*/*/*")),
}
PLACES: dict[str, Callable[[str, Path], Raw]] = {  # "images:PATH": a folder, an archive ..., or the URI of one
    "images": load_images,
    "unpaired": load_unpaired,
}


def everywhere(name: str) -> str:
    """A data set's name as all processes and hosts understand it: relative paths become absolute."""
    kind, colon, place = name.partition(":")
    return f"{kind}:{normal(place)}" if colon and kind in PLACES and place else name


def find_source(name: str) -> Source:
    """The source called `name`. ValueError for an unknown name (names the nearest), or a place that is left out."""
    kind, colon, place = name.partition(":")
    if colon and kind in PLACES:
        if not place:
            raise ValueError(f"data set {name!r} names no place; write {kind}:PATH, with a folder, a zip or a URI")
        place = normal(place)
        return Source(lambda root, download, scratch: PLACES[kind](place, scratch), place=place)
    if name not in SOURCES:
        valid = [*SOURCES, *(f"{kind}:PATH" for kind in PLACES)]
        raise ValueError(f"unknown data set {name!r}; nearest valid: {nearest(name, valid, most=len(valid))}")
    return SOURCES[name]
