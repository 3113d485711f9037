"""Sets of images that are arrays: a file .npy, or an .npz of several, such as x_train y_train x_test y_test."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen.data.archives import BUFFER, UNREADABLE, open_stream, open_zip, refuse_torn
from gen.data.places import mark, without_secrets
from gen.data.raw import Aside, Columns, Lazy, Raw
from gen.results.storage import Storage

ARRAYS = ("zip", "npy")  # kinds of files that may hold arrays: an .npz is a zip
SPLIT = re.compile(r"(?<![a-z])(train|val|test)(ing|id|idation)?(?![a-z])", re.IGNORECASE)  # in the name of an array
SPLITS = {"train": "train", "val": "validation", "test": "test"}
WHITE = {np.dtype(np.bool_): 255, np.dtype(np.uint8): 1}  # type of an array of images -> what its values are times


def load_arrays(place: str, kind: str, scratch: Path) -> Raw | None:
    """The images and labels of an .npy or .npz; None for a zip of anything else. Images are (N, H, W), (N, H, W, C) or
    (N, C, H, W), bytes or booleans; labels are whole numbers (N,). ValueError for other arrays."""
    arrays = extract(place, kind, scratch)
    if arrays is None:
        return None
    splits: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        found = SPLIT.search(name)
        splits.setdefault(SPLITS[found[1].lower()] if found else "train", {})[name] = array
    shown = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())
    if "train" not in splits:
        raise ValueError(
            f"{without_secrets(place)} has the arrays {shown}, and none to train on; name one train_images"
        )
    picked = {split: pick(place, split, found, shown) for split, found in splits.items()}
    labels = {
        split: arrays[label].reshape(-1).astype(np.int64) for split, (_, label) in picked.items() if label is not None
    }
    if labels and len(labels) < len(picked):
        raise ValueError(f"{without_secrets(place)} has the arrays {shown}: labels of some splits; bring all, or none")
    names = np.unique(np.concatenate([*labels.values()])) if labels else np.empty(0, np.int64)
    if labels and not np.isin(names, labels["train"]).all():
        raise ValueError(
            f"{without_secrets(place)} has labels beside train that train has not; it has those of {shown}"
        )
    tables: dict[str, tuple[Columns, ...]] = {}
    for split, (images, _) in picked.items():
        columns: Columns = {"image": as_images(place, images, arrays[images])}
        if len(names) > 1:
            columns = {**columns, "label": np.searchsorted(names, labels[split]).astype(np.int64)}
        tables[split] = (columns,)
    unused = sorted(arrays.keys() - {name for pair in picked.values() for name in pair})
    aside = {"arrays are neither images nor their labels": Aside(len(unused), unused[0])} if unused else {}
    classes = [str(name) for name in names] if len(names) > 1 else []
    return Raw(tables, len(classes), classes, {"": mark(place)}, aside=aside)


def extract(place: str, kind: str, scratch: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays of a file by name, memory-mapped in the scratch folder; None if it is a zip of other things."""
    storage, stamp = Storage(place), tuple(mark(place))
    try:
        if kind == "npy":
            with open_stream(storage) as stream, (scratch / "0.npy").open("wb") as out:
                shutil.copyfileobj(stream, out, BUFFER)
            return {"images": np.load(scratch / "0.npy", mmap_mode="r", allow_pickle=False)}
        archive = open_zip(place, stamp)
        names = archive.namelist()
        if not names or not all(name.endswith(".npy") for name in names):
            return None
        found = {}
        for number, name in enumerate(names):
            path = scratch / f"{number}.npy"  # a name may point anywhere
            with archive.open(name) as packed, path.open("wb") as out:
                shutil.copyfileobj(packed, out, BUFFER)
            found[name.removesuffix(".npy")] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*UNREADABLE, ValueError, RuntimeError) as error:
        raise refuse_torn(storage, "file of arrays", error) from None
    return found


def pick(place: str, split: str, arrays: dict[str, NDArray[Any]], shown: str) -> tuple[str, str | None]:
    """The names of the one array of images of a split, and of their labels, if there are any. ValueError if it is in
    doubt."""
    images = [name for name, array in arrays.items() if array.ndim in (3, 4)]
    if len(images) != 1:
        raise ValueError(
            f"{without_secrets(place)} has the arrays {shown}; for {split} one should be images (N, H, W) or "
            f"(N, H, W, C), there is {' and '.join(images) or 'none'}"
        )
    count = len(arrays[images[0]])
    labels = [
        name
        for name, array in arrays.items()
        if array.shape in ((count,), (count, 1)) and np.issubdtype(array.dtype, np.integer)
    ]
    if len(labels) > 1:
        raise ValueError(
            f"{without_secrets(place)} has the arrays {shown}; one only of {' and '.join(labels)} can be the labels"
        )
    return images[0], labels[0] if labels else None


def as_images(place: str, name: str, array: NDArray[Any]) -> Lazy:
    """An array as images (N, C, H, W) of bytes. ValueError for another type, or another number of channels."""
    if array.dtype not in WHITE:
        raise ValueError(
            f"{without_secrets(place)}: the images {name!r} are {array.dtype}; save them as uint8, 255 for white"
        )
    factor = np.uint8(WHITE[array.dtype])
    if array.ndim == 3:
        return Lazy((len(array), 1, *array.shape[1:]), lambda rows: array[rows, None] * factor)
    if array.shape[3] in (1, 3):
        shape = (len(array), array.shape[3], *array.shape[1:3])
        return Lazy(shape, lambda rows: array[rows].transpose(0, 3, 1, 2) * factor)
    if array.shape[1] in (1, 3):
        return Lazy((len(array), *array.shape[1:]), lambda rows: array[rows] * factor)
    raise ValueError(
        f"{without_secrets(place)}: the images {name!r} are {array.shape}; allowed: (N, H, W), (N, H, W, C) or "
        f"(N, C, H, W), with 1 or 3 channels C"
    )
