"""Loaders of the well-known sets whose images are arrays, most of them by torchvision."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen.data.raw import Columns, Lazy, Loader, Raw, Rows


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
    """A loader that calls `load` with torchvision's class `name` as its first argument."""

    def load_class(root: Path, download: bool, scratch: Path) -> Raw:
        from torchvision import datasets

        return load(getattr(datasets, name), root, download, scratch)

    return load_class


def load_idx(kind: Any, root: Path, download: bool, scratch: Path) -> Raw:
    """MNIST and its likes: four gzipped files in ROOT/NAME/raw, or unpacked there."""
    archives = {f"{kind.__name__}/raw/{name}": digest for name, digest in kind.resources}
    return load_torchvision(kind, archives, [path.removesuffix(".gz") for path in archives], root, download, scratch)


def load_batches(kind: Any, root: Path, download: bool, scratch: Path) -> Raw:
    """CIFAR and its likes: ROOT/NAME.tar.gz, or its batches unpacked: pickles, whose md5 torchvision checks first."""
    names = [name for name, _ in (*kind.train_list, *kind.test_list)] + [kind.meta["filename"]]
    unpacked = [f"{kind.base_folder}/{name}" for name in names]
    return load_torchvision(kind, {kind.filename: kind.tgz_md5}, unpacked, root, download, scratch)


def load_torchvision(
    kind: Any, archives: Mapping[str, str], unpacked: Sequence[str], root: Path, download: bool, scratch: Path
) -> Raw:
    """A labelled data set of torchvision, in the layout of torchvision.

    `archives`: path in the root -> md5; `unpacked`: paths of the files that torchvision opens. Archives in the
    root are verified and unpacked into the scratch folder, so the root may be read-only and hold nothing else.
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
    names = [str(name) for name in kind(root).classes]
    return Raw(splits, len(names), names)


def table(dataset: Any) -> Columns:
    """The columns of a data set of torchvision, whose pixels are (N, H, W) or (N, H, W, C)."""
    pixels = np.asarray(dataset.data)
    images = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return {"image": np.ascontiguousarray(images), "label": np.asarray(dataset.targets, dtype=np.int64)}


def load_svhn(kind: Any, root: Path, download: bool, scratch: Path, extra: bool = False) -> Raw:
    """Street View House Numbers, 32x32x3: 73,257 + 26,032 images, with `extra` 531,131 more to train on: ROOT/*.mat.

    Netzer et al. 2011, http://ufldl.stanford.edu/housenumbers. The extra images take 2 GB of memory while they are
    read: MATLAB's format holds them as one compressed array.
    """
    found = {}
    for part in ("train", "test", *(("extra",) if extra else ())):
        name = kind.split_list[part][1]
        if not (root / name).is_file() and not download:
            raise ValueError(f"data folder {root} holds no {name}; name it by --data-root, or use --download")
        try:
            found[part] = kind(str(root), part, download=download)
        except (RuntimeError, ValueError, TypeError, KeyError, EOFError, OSError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"SVHN cannot be read from {root / name}: {reason}; fetch it again by --download"
            ) from error
    splits: dict[str, tuple[Columns, ...]] = {
        part: ({"image": found[part].data, "label": found[part].labels},) for part in ("train", "test")
    }
    if extra:
        images = chain([found["train"].data, found["extra"].data])
        splits["train"] = ({"image": images, "label": np.concatenate([found["train"].labels, found["extra"].labels])},)
    return Raw(splits, 10, [str(digit) for digit in range(10)])


def load_svhn_extra(kind: Any, root: Path, download: bool, scratch: Path) -> Raw:
    """SVHN with its extra images."""
    return load_svhn(kind, root, download, scratch, extra=True)


def chain(arrays: Sequence[NDArray[np.uint8]]) -> Lazy:
    """Arrays of images joined one behind the other, without a copy of them."""
    starts = np.cumsum([0, *map(len, arrays)])

    def fetch(rows: Rows) -> NDArray[np.uint8]:
        out = np.empty((len(rows), *arrays[0].shape[1:]), np.uint8)
        which = np.searchsorted(starts, rows, side="right") - 1
        for number, array in enumerate(arrays):
            out[which == number] = array[rows[which == number] - starts[number]]
        return out

    return Lazy((int(starts[-1]), *arrays[0].shape[1:]), fetch)


CHANNEL_CLASSES = {"stacked_mnist": 10}  # sets whose channels are images of their own -> classes of a channel
STACKED = {"train": 128_000, "test": 26_000}  # images of each split, as in PacGAN and VEEGAN


def load_stacked(kind: Any, root: Path, download: bool, scratch: Path) -> Raw:
    """Three MNIST digits, drawn by a fixed seed, as the channels of one image: 1,000 modes, which are the labels.

    Metz et al. 2016, https://arxiv.org/abs/1611.02163; sizes of Lin et al. 2017, https://arxiv.org/abs/1712.04086.
    """
    digits, splits = load_idx(kind, root, download, scratch), {}
    for number, (split, count) in enumerate(STACKED.items()):
        (one,) = digits.splits[split]
        threes = np.random.default_rng(number).integers(0, len(one["image"]), (count, 3))
        labels = np.asarray(one["label"])[threes] @ np.array([100, 10, 1])
        splits[split] = ({"image": stack_digits(np.asarray(one["image"]), threes), "label": labels.astype(np.int64)},)
    return Raw(splits, 1000, [f"{mode:03d}" for mode in range(1000)])


def stack_digits(images: NDArray[np.uint8], threes: NDArray[np.int64]) -> Lazy:
    """Images of three grey ones each: the channels of image i are the rows `threes[i]` of `images` (N, 1, H, W)."""
    return Lazy((len(threes), 3, *images.shape[2:]), lambda rows: images[threes[rows], 0])


DSPRITES = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"


def load_dsprites(root: Path, download: bool, scratch: Path) -> Raw:
    """737,280 white shapes on black, 64x64, every combination of five factors; the label is the shape. A seeded part
    is the test, for the set has none. Matthey et al. 2017, https://github.com/google-deepmind/dsprites-dataset."""
    path = root / DSPRITES
    if not path.is_file():
        raise ValueError(
            f"data folder {root} holds no {DSPRITES}; fetch it by hand from "
            f"https://github.com/google-deepmind/dsprites-dataset into {root}, and name that by --data-root"
        )
    try:
        with zipfile.ZipFile(path) as archive:  # of its arrays, "metadata" is a pickle and stays unread
            names = ("imgs", "latents_classes")
            for name in names:
                archive.extract(f"{name}.npy", scratch)
            images, factors = (np.load(scratch / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names)
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({' '.join(str(error).split())}); fetch it again") from error
    if images.ndim != 3 or images.dtype != np.uint8 or factors.shape != (len(images), 6):
        raise ValueError(f"{path} is damaged: its images are {images.shape} and its factors {factors.shape}")
    pixels = Lazy((len(images), 1, *images.shape[1:]), lambda rows: images[rows, None] * np.uint8(255))
    columns: Columns = {"image": pixels, "label": factors[:, 1].astype(np.int64)}
    return Raw({"train": (columns,)}, 3, ["square", "ellipse", "heart"])
