"""Where images come from. A source is a value: a loader of raw uint8 tables; `gen.data.dataset` does the rest."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import sklearn.datasets
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torchvision.datasets import CIFAR10, MNIST, FashionMNIST
from torchvision.datasets.utils import check_integrity, extract_archive

Columns: TypeAlias = Mapping[str, NDArray[Any]]
"""A raw table: images as uint8 (N, C, H, W), labels as int64 (N,)."""


@dataclass(frozen=True)
class Raw:
    """What a loader gives: "train" and "test", each a tuple of tables, before resizing and validation."""

    splits: Mapping[str, tuple[Columns, ...]]
    classes: int  # 0: no labels


@dataclass(frozen=True)
class Source:
    """A named origin of images."""

    load: Callable[[Path, bool, Path], Raw]  # (root, download, scratch folder); ValueError where the data are bad
    originals: Sequence[str] = ()  # glob patterns, relative to the root, of the files read; none: needs no folder


def load_digits(root: Path, download: bool, scratch: Path) -> Raw:
    """1,797 scans of handwritten digits, 8x8, that come with scikit-learn; a fifth of them, stratified, is the test."""
    bunch = sklearn.datasets.load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]  # 0 .. 16 -> 0 .. 255
    labels = bunch.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels)
    tables = {
        name: ({"image": images[rows], "label": labels[rows]},) for name, rows in (("train", train), ("test", test))
    }
    return Raw(tables, classes=10)


def torchvision_source(kind: Any, archives: Mapping[str, str], unpacked: Sequence[str]) -> Source:
    """A labelled data set of torchvision, in the layout of torchvision.

    `archives`: path in the root -> md5; `unpacked`: paths of the files that torchvision opens. Archives that are there
    are verified and unpacked into the scratch folder, so a root of originals serves that is read-only and has no more.
    """

    def load(root: Path, download: bool, scratch: Path) -> Raw:
        name = kind.__name__
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
                    raise ValueError(
                        f"{root / path} is damaged (md5 differs); replace it, or delete it and use --download"
                    )
            fault = "holds no" if root.is_dir() else "does not exist; it should hold"
            wanted = f"{', '.join(archives)} (or unpacked)"
            raise ValueError(f"data folder {root} {fault} {wanted}; name it by --data-root, or use --download")
        try:
            splits = {
                part: (table(kind(root, train=part == "train", download=download)),) for part in ("train", "test")
            }
        except (RuntimeError, ValueError, TypeError, KeyError, AssertionError, EOFError, OSError) as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            advice = "delete the damaged files and use --download" if not download else "see that the network is there"
            raise ValueError(f"{name} cannot be read from data folder {root}: {reason}; {advice}") from error
        return Raw(splits, classes=len(kind(root).classes))

    return Source(load, originals=(*archives, *unpacked))


def table(dataset: Any) -> Columns:
    """The columns of a data set of torchvision, whose pixels are (N, H, W) or (N, H, W, C)."""
    pixels = np.asarray(dataset.data)
    images = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return {"image": np.ascontiguousarray(images), "label": np.asarray(dataset.targets, dtype=np.int64)}


def idx_source(kind: Any) -> Source:
    """MNIST and its likes: four gzipped files in ROOT/NAME/raw."""
    archives = {f"{kind.__name__}/raw/{name}": digest for name, digest in kind.resources}
    return torchvision_source(kind, archives, [path.removesuffix(".gz") for path in archives])


def batches_source(kind: Any) -> Source:
    """CIFAR and its likes: pickled batches in ROOT/FOLDER, whose md5 torchvision verifies before it opens them."""
    names = [name for name, _ in (*kind.train_list, *kind.test_list)] + [kind.meta["filename"]]
    return torchvision_source(kind, {kind.filename: kind.tgz_md5}, [f"{kind.base_folder}/{name}" for name in names])


SOURCES: dict[str, Source] = {
    "digits": Source(load_digits),
    "mnist": idx_source(MNIST),
    "fashion_mnist": idx_source(FashionMNIST),
    "cifar10": batches_source(CIFAR10),
}


def find_source(name: str) -> Source:
    """The source of that name; ValueError with the nearest valid names."""
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, n=3, cutoff=0.5) or list(SOURCES)
        raise ValueError(f"unknown data set {name!r}; nearest valid: {', '.join(near)}")
    return SOURCES[name]
