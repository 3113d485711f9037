"""Loaders of the well-known sets whose images are files, each in its own layout."""

from __future__ import annotations

from pathlib import Path

from gen.data.folders import by_class, group_by_folder, images_of, skip_outer_folders, table
from gen.data.places import list_files, reader
from gen.data.raw import Columns, File, Pictures, Raw


def load_tiny_imagenet(root: Path, download: bool, scratch: Path) -> Raw:
    """Tiny ImageNet, 200 classes at 64x64, or a part of it, in its own layout: `train/WNID/**.JPEG`, and
    `val/images/*.JPEG` with `val/val_annotations.txt`, or `val/WNID/*.JPEG`. val/ serves as the test, for the true test
    has no labels."""
    place = str(only_one(root, "tiny-imagenet", "http://cs231n.stanford.edu/tiny-imagenet-200.zip"))
    files = images_of(place).pictures
    start = skip_outer_folders(files, stop=("train", "val"))
    groups = group_by_folder(files, start)
    if not {"train", "val"} <= groups.keys():
        raise ValueError(f"{place} has {', '.join(sorted(groups))}; Tiny ImageNet has train/ and val/")
    train = by_class(place, groups["train"], start + len("train/"))
    test = by_class(place, groups["val"], start + len("val/"))
    read, prefix = reader(place), files[0].name[:start]
    texts = [file.name for file in list_files(place).files if file.name.endswith(".txt")]
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
    found = images_of(str(place)).pictures
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
        files = images_of(str(place)).pictures
        found = by_class(str(place), files, 0)
        if not found.keys() <= numbers.keys():
            raise ValueError(f"{place} has the class {min(found.keys() - numbers.keys())!r}, which train/ has not")
        splits[split] = (table(str(place), found, list(numbers)),)
    names = [names[0] for names in parts["train"].classes]
    return Raw(splits, len(names), names)
