"""Where images come from. A source is a value: a loader of raw uint8 tables; `gen.data.dataset` does the rest."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Columns: TypeAlias = Mapping[str, NDArray[Any]]
"""A raw table: images as uint8 (N, C, H, W), labels as int64 (N,)."""


@dataclass(frozen=True)
class Raw:
    """What a loader gives: "train" and "test", each a tuple of tables, before resizing and validation."""

    splits: Mapping[str, tuple[Columns, ...]]
    classes: int  # 0: no labels


Loader: TypeAlias = Callable[[Path, bool, Path], Raw]
"""(root, whether it may download into the root, scratch folder) -> raw splits."""


@dataclass(frozen=True)
class Source:
    """A named origin of images.

    Loaders import what they read with when they are called: scikit-learn and torchvision take seconds, which every
    process of a search would spend, and a filled cache needs neither.
    """

    load: Loader  # ValueError where the originals are missing or bad
    originals: Sequence[str] = ()  # glob patterns, relative to the root, of the files read; none: needs no folder


def load_digits(root: Path, download: bool, scratch: Path) -> Raw:
    """1,797 scans of handwritten digits, 8x8, that come with scikit-learn; a fifth of them, stratified, is the test."""
    import sklearn.datasets
    from sklearn.model_selection import train_test_split

    bunch = sklearn.datasets.load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]  # 0 .. 16 -> 0 .. 255
    labels = bunch.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels)
    tables = {
        name: ({"image": images[rows], "label": labels[rows]},) for name, rows in (("train", train), ("test", test))
    }
    return Raw(tables, classes=10)


def torchvision_loader(name: str, load: Callable[[Any, Path, bool, Path], Raw]) -> Loader:
    """`load` with torchvision's class of that name as its first argument."""

    def load_class(root: Path, download: bool, scratch: Path) -> Raw:
        from torchvision import datasets

        return load(getattr(datasets, name), root, download, scratch)

    return load_class


def load_idx(kind: Any, root: Path, download: bool, scratch: Path) -> Raw:
    """MNIST and its likes: four gzipped files in ROOT/NAME/raw, or unpacked there."""
    archives = {f"{kind.__name__}/raw/{name}": digest for name, digest in kind.resources}
    return load_torchvision(kind, archives, [path.removesuffix(".gz") for path in archives], root, download, scratch)


def load_batches(kind: Any, root: Path, download: bool, scratch: Path) -> Raw:
    """CIFAR and its likes: ROOT/NAME.tar.gz, or its pickled batches, whose md5 torchvision checks first."""
    names = [name for name, _ in (*kind.train_list, *kind.test_list)] + [kind.meta["filename"]]
    unpacked = [f"{kind.base_folder}/{name}" for name in names]
    return load_torchvision(kind, {kind.filename: kind.tgz_md5}, unpacked, root, download, scratch)


def load_torchvision(
    kind: Any, archives: Mapping[str, str], unpacked: Sequence[str], root: Path, download: bool, scratch: Path
) -> Raw:
    """A labelled data set of torchvision, in the layout of torchvision.

    `archives`: path in the root -> md5; `unpacked`: paths of the files that torchvision opens. Archives that are there
    are verified and unpacked into the scratch folder, so a root of originals serves that is read-only and has no more.
    """
    from torchvision.datasets.utils import check_integrity, extract_archive

    damaged = [path for path, digest in archives.items() if not check_integrity(root / path, digest)]
    present = all((root / path).is_file() for path in unpacked)
    if not damaged:
        for path in archives:
            (scratch / path).parent.mkdir(parents=True, exist_ok=True)
            extract_archive(root / path, (scratch / path).parent)
        root, download = scratch, False
    elif not download and not present:
        for path in damaged:
            if (root / path).is_file():
                raise ValueError(f"{root / path} is damaged (md5 differs); replace it, or delete it and use --download")
        fault = "holds no" if root.is_dir() else "does not exist; it should hold"
        wanted = f"{', '.join(archives)} (or unpacked)"
        raise ValueError(f"data folder {root} {fault} {wanted}; name it by --data-root, or use --download")
    try:
        splits = {part: (table(kind(root, train=part == "train", download=download)),) for part in ("train", "test")}
    except (RuntimeError, ValueError, TypeError, KeyError, AssertionError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        advice = "see that the network is there" if download else "delete the damaged files and use --download"
        raise ValueError(f"{kind.__name__} cannot be read from data folder {root}: {reason}; {advice}") from error
    return Raw(splits, classes=len(kind(root).classes))


def table(dataset: Any) -> Columns:
    """The columns of a data set of torchvision, whose pixels are (N, H, W) or (N, H, W, C)."""
    pixels = np.asarray(dataset.data)
    images = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return {"image": np.ascontiguousarray(images), "label": np.asarray(dataset.targets, dtype=np.int64)}


SOURCES: dict[str, Source] = {
    "digits": Source(load_digits),
    "mnist": Source(torchvision_loader("MNIST", load_idx), ("MNIST/raw/*-ubyte*",)),
    "fashion_mnist": Source(torchvision_loader("FashionMNIST", load_idx), ("FashionMNIST/raw/*-ubyte*",)),
    "cifar10": Source(torchvision_loader("CIFAR10", load_batches), ("cifar-10-python.tar.gz", "cifar-10-batches-py/*")),
}


def find_source(name: str) -> Source:
    """The source of that name; ValueError with the nearest valid names."""
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, n=3, cutoff=0.5) or list(SOURCES)
        raise ValueError(f"unknown data set {name!r}; nearest valid: {', '.join(near)}")
    return SOURCES[name]
