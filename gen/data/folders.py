"""Sets of image files by how they are laid out: class folders, unpaired domains, and the layouts of known sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from gen.data.places import list_files, reader, without_secrets
from gen.data.raw import Columns, File, Pictures, Raw

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
SPLITS = {  # name of a folder -> split
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
DOMAINS = {"A": "a", "B": "b"}


def images_of(place: str) -> tuple[list[File], dict[str, list[int]]]:
    """The image files of a place, sorted, and its marks as `list_files` gives them. ValueError if it has no images."""
    files, marks = list_files(place)
    found = [file for file in files if is_picture(file.name) and not is_hidden(file.name)]
    if not found:
        raise ValueError(f"{without_secrets(place)} holds no images; their names end in {', '.join(SUFFIXES)}")
    return found, marks


def is_picture(name: str) -> bool:
    """Whether a file is an image by its name."""
    return name.lower().endswith(SUFFIXES)


def is_hidden(name: str) -> bool:
    """Whether a file is not meant to be seen, such as .DS_Store and what macOS adds to archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def group_by_folder(files: Iterable[File], start: int) -> dict[str, list[File]]:
    """Files by the first folder that their names have from character `start` on; "" for files in no folder."""
    groups: dict[str, list[File]] = {}
    for file in files:
        head, slash, _ = file.name[start:].partition("/")
        groups.setdefault(head if slash else "", []).append(file)
    return groups


def skip_outer_folders(files: list[File], start: int = 0, stop: Iterable[str] = ()) -> int:
    """The length of the outer folders that all names share, such as `horse2zebra/`: a folder that holds everything
    means nothing, unless it has a name of `stop`."""
    while True:
        groups = group_by_folder(files, start)
        (head, *more) = groups
        if more or not head or head in stop:
            return start
        start += len(head) + 1


def load_images(place: str) -> Raw:
    """A folder or archive of images: `train/ val/ test/` are splits, further folders are classes, sorted by name.

    One folder that holds everything is no class. ValueError for a layout that leaves doubt.
    """
    files, marks = images_of(place)
    start = skip_outer_folders(files, stop=SPLITS)
    groups = group_by_folder(files, start)
    named = [SPLITS[head.lower()] for head in groups if head.lower() in SPLITS]  # splits, one for each folder
    if len(named) > len(set(named)) or any(head not in SPLITS and head.lower() in SPLITS for head in groups):
        raise ValueError(
            f"{without_secrets(place)} has {', '.join(f'{head}/' for head in sorted(groups))}; name its splits "
            f"train/, val/ and test/, each once"
        )
    if not named:
        by_split = {"train": by_class(place, files, start)}
    else:
        others = sorted(groups.keys() - SPLITS.keys())
        if others:
            what = f"the folder {others[0]}/" if others[0] else f"the image {groups[''][0].name!r}"
            raise ValueError(
                f"{without_secrets(place)} has {what} beside its splits; move it away, or into one of them"
            )
        if not any(SPLITS[head] == "train" for head in groups):
            raise ValueError(
                f"{without_secrets(place)} has {', '.join(f'{head}/' for head in sorted(groups))} but no train/"
            )
        by_split = {SPLITS[head]: by_class(place, found, start + len(head) + 1) for head, found in groups.items()}
    names = sorted({name for classes in by_split.values() for name in classes})
    if len(names) < 2:
        names = []
    for split, classes in by_split.items():
        if names and (strange := classes.keys() - by_split["train"].keys()):
            what = f"the class {min(strange)!r}" if min(strange) else "images without a class"
            raise ValueError(
                f"{without_secrets(place)} has {what} in its {split}, which train/ has not; move them away"
            )
    splits = {split: (table(place, classes, names),) for split, classes in by_split.items()}
    return Raw(splits, len(names), names, marks)


def by_class(place: str, files: list[File], start: int) -> dict[str, list[File]]:
    """Class -> its files; {"": files} where there are no class folders. ValueError if only some files lie in one."""
    found = group_by_folder(files, start)
    if len(found) > 1 and "" in found:
        other = next(name for name in found if name)
        raise ValueError(
            f"{without_secrets(place)} has both images without a class ({found[''][0].name!r}) and class folders "
            f"({other}/); bring all into class folders, or none"
        )
    return found


def table(place: str, classes: Mapping[str, list[File]], names: Sequence[str]) -> Columns:
    """Images in order of name and, where there are `names` of classes, their labels."""
    numbers = {name: number for number, name in enumerate(names)}
    rows = sorted((file, numbers.get(name, 0)) for name, files in classes.items() for file in files)
    columns: Columns = {"image": Pictures(place, [file for file, _ in rows])}
    return {**columns, "label": np.array([label for _, label in rows], np.int64)} if names else columns


def load_unpaired(place: str) -> Raw:
    """Two domains as CycleGAN's sets have them, `trainA trainB testA testB`: a table of column "a", one of column "b".

    Zhu et al. 2017, https://arxiv.org/abs/1703.10593. ValueError if a domain of a split is missing.
    """
    files, marks = images_of(place)
    start = skip_outer_folders(files, stop=("trainA", "trainB"))
    groups = group_by_folder(files, start)
    missing = [name for name in ("trainA", "trainB") if name not in groups]
    if missing:
        raise ValueError(
            f"{without_secrets(place)} has no {' and no '.join(missing)}; unpaired sets are trainA trainB testA testB"
        )
    splits: dict[str, tuple[Columns, ...]] = {}
    for split, heads in {"train": ("train",), "validation": ("val", "valid"), "test": ("test",)}.items():
        for head in heads:
            present = [f"{head}{domain}" for domain in DOMAINS if f"{head}{domain}" in groups]
            if len(present) == 1:
                raise ValueError(
                    f"{without_secrets(place)} has {present[0]} alone; bring its other domain too, or move it away"
                )
            if present and split not in splits:
                splits[split] = tuple(
                    {column: Pictures(place, groups[f"{head}{domain}"])} for domain, column in DOMAINS.items()
                )
    return Raw(splits, 0, marks=marks)


def load_tiny_imagenet(root: Path, download: bool, scratch: Path) -> Raw:
    """Tiny ImageNet, 200 classes at 64x64, or a part of it, in its own layout: `train/WNID/**.JPEG`, and
    `val/images/*.JPEG` with `val/val_annotations.txt`, or `val/WNID/*.JPEG`. val/ serves as the test, for the true test
    has no labels."""
    place = str(only_one(root, "tiny-imagenet", "http://cs231n.stanford.edu/tiny-imagenet-200.zip"))
    files, _ = images_of(place)
    start = skip_outer_folders(files, stop=("train", "val"))
    groups = group_by_folder(files, start)
    if not {"train", "val"} <= groups.keys():
        raise ValueError(f"{place} has {', '.join(sorted(groups))}; Tiny ImageNet has train/ and val/")
    train = by_class(place, groups["train"], start + len("train/"))
    test = by_class(place, groups["val"], start + len("val/"))
    read, prefix = reader(place), files[0].name[:start]
    texts = [file.name for file in list_files(place)[0] if file.name.endswith(".txt")]
    if list(test) == ["images"]:
        if f"{prefix}val/val_annotations.txt" not in texts:
            raise ValueError(f"{place} has no val/val_annotations.txt, which tells the classes of val/images")
        rows = read(f"{prefix}val/val_annotations.txt").decode().splitlines()
        wnids = dict(row.split("\t")[:2] for row in rows if row.strip())
        test = {}
        for file in groups["val"]:
            if (name := file.name.rsplit("/", 1)[1]) not in wnids:
                raise ValueError(f"{place}: val/val_annotations.txt does not tell the class of {name!r}")
            test.setdefault(wnids[name], []).append(file)
    names = sorted(train)
    if not test.keys() <= train.keys():
        raise ValueError(f"{place}: val/ has the class {min(test.keys() - train.keys())}, which train/ has not")
    words: dict[str, str] = {}
    if f"{prefix}words.txt" in texts:
        lines = read(f"{prefix}words.txt").decode().splitlines()
        words = dict(line.split("\t")[:2] for line in lines if line.strip())
    splits = {"train": (table(place, train, names),), "test": (table(place, test, names),)}
    return Raw(splits, len(names), [words.get(name, name) for name in names])


def only_one(root: Path, start: str, address: str) -> Path:
    """The folder or archive in `root` whose name starts with `start`. ValueError if there is none, or more than one."""
    found = sorted(path for path in root.glob(f"{start}*") if path.is_dir() or path.suffix == ".zip")
    if len({path.name.removesuffix(".zip") for path in found}) > 1:
        raise ValueError(f"data folder {root} holds {', '.join(path.name for path in found)}; keep one of them there")
    if not found:
        raise ValueError(f"data folder {root} holds no {start}*; fetch {address} into it, and name it by --data-root")
    return found[0]  # the folder, where its own archive lies there too


def load_celeba(root: Path, download: bool, scratch: Path) -> Raw:
    """202,599 aligned faces, 178x218, in torchvision's layout, with the authors' three splits and without labels.

    Liu et al. 2015, https://arxiv.org/abs/1411.7766. Give --size: the centred square of 178 pixels is resized.
    """
    folder = root / "celeba"
    archive, loose, partition = folder / "img_align_celeba.zip", folder / "img_align_celeba", "list_eval_partition.txt"
    place = loose if loose.is_dir() else archive
    if download and not (place.exists() and (folder / partition).is_file()):
        from torchvision.datasets import CelebA

        try:
            CelebA(str(root), download=True)  # needs the package gdown, and Google Drive's quota is often used up
        except (RuntimeError, OSError, ValueError) as error:
            raise ValueError(
                f"CelebA cannot be fetched: {' '.join(str(error).split())[:200]}; {manual(folder)}"
            ) from error
        place = loose
    if not place.exists() or not (folder / partition).is_file():
        raise ValueError(
            f"data folder {root} holds no celeba/img_align_celeba or no celeba/{partition}; {manual(folder)}"
        )
    found, _ = images_of(str(place))
    files = {file.name.rsplit("/", 1)[-1]: file for file in found}
    splits: dict[str, list[File]] = {"train": [], "validation": [], "test": []}
    for line in (folder / partition).read_text().splitlines():
        name, _, number = line.strip().partition(" ")
        if name not in files or number not in ("0", "1", "2"):
            raise ValueError(
                f"celeba/{partition} has the line {line!r}, and {place} no such image or CelebA no such split"
            )
        splits[list(splits)[int(number)]].append(files[name])
    return Raw({split: ({"image": Pictures(str(place), names)},) for split, names in splits.items()}, 0)


def manual(folder: Path) -> str:
    """What to do by hand to have CelebA: advice for errors."""
    return (
        "fetch img_align_celeba.zip and list_eval_partition.txt by hand from "
        f"https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html into {folder}, and name the folder above it by --data-root"
    )


def load_imagenette(root: Path, download: bool, scratch: Path) -> Raw:
    """Ten classes of ImageNet, 9,469 + 3,925 photographs, in torchvision's layout; give --size. Of the variants in
    `root` the largest is read; a download fetches the one of 160 pixels. val/ serves as the test."""
    from torchvision.datasets import Imagenette
    from torchvision.datasets.utils import check_integrity, download_url, extract_archive

    variants = {"full": "imagenette2", "320px": "imagenette2-320", "160px": "imagenette2-160"}
    here = next((kind for kind in variants if (root / variants[kind]).is_dir()), "")
    if not here:
        packed = next((kind for kind in variants if (root / f"{variants[kind]}.tgz").is_file()), "")
        if packed:
            path = root / f"{variants[packed]}.tgz"
            if not check_integrity(path, Imagenette._ARCHIVES[packed][1]):
                raise ValueError(f"{path} is damaged (md5 differs); replace it, or delete it and use --download")
            extract_archive(path, scratch)
            root, here = scratch, packed
        elif not download:
            wanted = " or ".join(f"{name}[.tgz]" for name in variants.values())
            raise ValueError(f"data folder {root} holds no {wanted}; name it by --data-root, or use --download")
    try:
        if not here:  # only the archive goes to the root: killed, an unpacking there would look whole
            url, digest = Imagenette._ARCHIVES["160px"]
            download_url(url, str(root), md5=digest)
            extract_archive(root / f"{variants['160px']}.tgz", scratch)
            root, here = scratch, "160px"
        parts = {split: Imagenette(str(root), folder, here) for split, folder in (("train", "train"), ("test", "val"))}
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"Imagenette cannot be read from data folder {root}: {' '.join(str(error).split())}"
        ) from error
    splits: dict[str, tuple[Columns, ...]] = {}
    for split, part in parts.items():
        place = Path(part._image_root)
        numbers = {wnid: number for number, wnid in enumerate(parts["train"].wnids)}
        files, _ = images_of(str(place))
        found = by_class(str(place), files, 0)
        if not found.keys() <= numbers.keys():
            raise ValueError(f"{place} has the class {min(found.keys() - numbers.keys())!r}, which train/ has not")
        splits[split] = (table(str(place), found, list(numbers)),)
    names = [names[0] for names in parts["train"].classes]
    return Raw(splits, len(names), names)
