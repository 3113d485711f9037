"""Sets whose files are not at hand: the real loading code on small files that are written here in the true format."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from torchvision.datasets import SVHN, Imagenette

from gen.config import DataConfig
from gen.data.cache import check, split_up
from gen.data.dataset import open_dataset
from gen.data.known import DSPRITES, load_stacked, load_svhn, load_svhn_extra
from gen.data.sources import SOURCES
from tests.data.test_sources import archived_mnist, md5
from tests.fixtures.pictures import encoded, files, noise, write


def svhn_files(root: Path, counts: dict[str, int]) -> tuple[Any, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """MATLAB files: X (32, 32, 3, N), y (N, 1) in which 10 is the digit 0; and torchvision's reader that knows them."""
    rng, held, listed = np.random.default_rng(0), {}, {}
    root.mkdir(exist_ok=True)
    for part, count in counts.items():
        images, labels = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), rng.integers(1, 11, (count, 1))
        path = root / f"{part}_32x32.mat"
        scipy.io.savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": labels.astype(np.uint8)}, do_compression=True)
        held[part] = images, labels.squeeze(1) % 10
        listed[part] = ["", path.name, md5(path.read_bytes())]
    return type("SVHN", (SVHN,), {"split_list": listed}), held


def test_svhn_and_its_extra_images(tmp_path: Path) -> None:
    kind, held = svhn_files(tmp_path / "root", {"train": 30, "test": 12, "extra": 25})
    raw = load_svhn(kind, tmp_path / "root", False, tmp_path)
    check("svhn", raw)
    for part in ("train", "test"):
        (table,) = raw.splits[part]
        np.testing.assert_array_equal(table["image"], held[part][0])
        np.testing.assert_array_equal(table["label"], held[part][1])
    (train,) = load_svhn_extra(kind, tmp_path / "root", False, tmp_path).splits["train"]
    both = [np.concatenate([held[part][index] for part in ("train", "extra")]) for index in range(2)]
    order = np.random.default_rng(1).permutation(55)
    np.testing.assert_array_equal(train["image"][order], both[0][order])  # type: ignore[index]
    np.testing.assert_array_equal(train["label"], both[1])
    (tmp_path / "root" / "extra_32x32.mat").unlink()
    with pytest.raises(ValueError, match=r"^data folder \S+ holds no extra_32x32.mat; [^\n]*--download$"):
        load_svhn_extra(kind, tmp_path / "root", False, tmp_path)
    (tmp_path / "root" / "test_32x32.mat").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"^SVHN cannot be read from \S+test_32x32.mat: [^\n]*corrupted[^\n]*$"):
        load_svhn(kind, tmp_path / "root", False, tmp_path)


@pytest.mark.parametrize("packed", [True, False])
def test_celeba(packed: bool, tmp_path: Path) -> None:
    names = [f"{number:06d}.jpg" for number in range(1, 15)]
    faces = {name: encoded(noise(number, (178, 218)), "JPEG") for number, name in enumerate(names)}
    inside = {f"img_align_celeba/{name}": data for name, data in faces.items()}
    (tmp_path / "celeba").mkdir()
    write(tmp_path / "celeba" / ("img_align_celeba.zip" if packed else ""), inside)
    lines = [f"{name} {0 if number < 8 else 1 if number < 11 else 2}" for number, name in enumerate(names)]
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    dataset = open_dataset(DataConfig("celeba", size=16), str(tmp_path), cache=str(tmp_path / "cache"))
    assert dataset.manifest["counts"] == {"train": [8], "validation": [3], "test": [3]}
    assert (dataset.shape.channels, dataset.shape.size, dataset.shape.classes) == (3, 16, 0)
    square = noise(0, (178, 218))  # what the first file holds but for its compression
    expected = np.asarray(square.crop((0, 20, 178, 198)), float).mean()
    assert abs(float(dataset.splits["train"][0]["image"][0].double().mean()) - expected) < 2


def test_celeba_says_where_from_and_where_to(tmp_path: Path) -> None:
    expected = (
        rf"img_align_celeba.zip and list_eval_partition.txt by hand from https://mmlab\S+ into {tmp_path}/celeba,"
    )
    with pytest.raises(ValueError, match=expected):
        open_dataset(DataConfig("celeba", size=16), str(tmp_path), cache=str(tmp_path / "cache"))


def dsprites_file(root: Path, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """As published: compressed, images of 0 and 1, the six factors' classes, and a dictionary, which is a pickle."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 2, (count, 64, 64), dtype=np.uint8)
    factors = np.stack([rng.integers(0, high, count) for high in (1, 3, 6, 40, 32, 32)], 1)
    meta = {"title": "dSprites dataset", "latents_sizes": np.array([1, 3, 6, 40, 32, 32])}
    np.savez_compressed(
        root / DSPRITES,
        imgs=images,
        latents_classes=factors,
        latents_values=factors.astype(float),
        metadata=np.array(meta, dtype=object),
    )
    return images, factors


class Trap:
    """Unpickling it leaves a mark."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def test_dsprites_and_its_pickle_is_never_loaded(tmp_path: Path) -> None:
    images, factors = dsprites_file(tmp_path)
    rest = {
        f"{name}.npy": zipfile.ZipFile(tmp_path / DSPRITES).read(f"{name}.npy") for name in ("imgs", "latents_classes")
    }
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array(Trap(tmp_path / "sprung"), dtype=object))
    write(tmp_path / "trap.zip", {**rest, "metadata.npy": buffer.getvalue()}).rename(tmp_path / DSPRITES)
    dataset = open_dataset(DataConfig("dsprites"), str(tmp_path), cache=str(tmp_path / "cache"))
    assert not (tmp_path / "sprung").exists()
    assert dataset.manifest["counts"] == {"train": [32], "validation": [4], "test": [4]}
    tables = [dataset.splits[split][0] for split in ("train", "validation", "test")]
    found = {
        image.numpy().tobytes(): int(label) for table in tables for image, label in zip(*table.values(), strict=True)
    }
    assert found == {(image * 255).tobytes(): shape for image, shape in zip(images, factors[:, 1], strict=True)}


def test_dsprites_says_where_from_and_a_cut_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"by hand from https://github.com/google-deepmind/\S+ into {tmp_path}, "):
        open_dataset(DataConfig("dsprites"), str(tmp_path), cache=str(tmp_path / "cache"))
    dsprites_file(tmp_path)
    data = (tmp_path / DSPRITES).read_bytes()
    (tmp_path / DSPRITES).write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"^\S+npz is damaged \([^\n]*\); fetch it again$"):
        open_dataset(DataConfig("dsprites"), str(tmp_path), cache=str(tmp_path / "cache"))


WNIDS = tuple(Imagenette._WNID_TO_CLASS)


def imagenette_files() -> dict[str, bytes]:
    """The folders of the archive, photographs of unlike sizes in them."""
    return {
        f"imagenette2-160/{split}/{wnid}/{split}_{number}.JPEG": encoded(noise(number, (20 + number, 16)), "JPEG")
        for split, count in (("train", 4), ("val", 2))
        for wnid in WNIDS
        for number in range(count)
    }


@pytest.mark.parametrize("packed", [False, True])
def test_imagenette(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, loose = tmp_path / "root", tmp_path / "loose"
    root.mkdir()
    write(loose if packed else root, imagenette_files())
    if packed:
        with tarfile.open(root / "imagenette2-160.tgz", "w:gz") as archive:
            archive.add(loose / "imagenette2-160", "imagenette2-160")
        digest = md5((root / "imagenette2-160.tgz").read_bytes())
        monkeypatch.setitem(Imagenette._ARCHIVES, "160px", ("https://nowhere/imagenette2-160.tgz", digest))
    dataset = open_dataset(DataConfig("imagenette", size=8), str(root), cache=str(tmp_path / "cache"))
    assert dataset.manifest["counts"] == {"train": [36], "validation": [4], "test": [20]}
    assert dataset.manifest["classes"][:2] == ["tench", "English springer"]
    assert np.bincount(dataset.splits["test"][0]["label"]).tolist() == [2] * 10
    assert [path.name for path in root.iterdir()] == ["imagenette2-160.tgz" if packed else "imagenette2-160"]


def test_imagenette_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^data folder \S+ holds no imagenette2\[.tgz\] or [^\n]*--download$"):
        open_dataset(DataConfig("imagenette", size=8), str(tmp_path), cache=str(tmp_path / "cache"))
    (tmp_path / "imagenette2.tgz").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"imagenette2.tgz is damaged \(md5 differs\)"):
        open_dataset(DataConfig("imagenette", size=8), str(tmp_path), cache=str(tmp_path / "cache"))


@pytest.mark.parametrize("place", ["tiny-imagenet-200", "tiny-imagenet-200.zip"])
@pytest.mark.parametrize("annotated", [True, False])
def test_tiny_imagenet(place: str, annotated: bool, tmp_path: Path) -> None:
    """The full set's layout, with its annotations; and that of a part of it, whose val/ has class folders."""
    wnids, held, lines = ["n02", "n01", "n03"], {}, []
    for number, wnid in enumerate(wnids):
        held |= files(6, f"train/{wnid}/images/{wnid}_")
        val = {f"val_{number}{index}.JPEG": encoded(noise(100 * number + index)) for index in range(2)}
        held |= {f"val/{'images' if annotated else wnid}/{name}": data for name, data in val.items()}
        lines += [f"{name}\t{wnid}\t0\t0\t7\t7" for name in val]
    if annotated:
        held["val/val_annotations.txt"] = "\n".join(lines).encode()
        held |= files(3, "test/images/test_")
    held["words.txt"] = b"n01\tgoldfish\nn02\tgreat white shark, white shark\nn99\tentity"
    write(
        tmp_path / place,
        {f"tiny-imagenet-200/{name}" if place.endswith("zip") else name: data for name, data in held.items()},
    )
    dataset = open_dataset(DataConfig("tiny_imagenet"), str(tmp_path), cache=str(tmp_path / "cache"))
    assert dataset.manifest["counts"] == {"train": [16], "validation": [2], "test": [6]}
    assert dataset.manifest["classes"] == ["goldfish", "great white shark, white shark", "n03"]
    (test,) = dataset.splits["test"]
    labels = {image.numpy().tobytes(): int(label) for image, label in zip(test["image"], test["label"], strict=True)}
    for number, wnid in enumerate(wnids):
        for index in range(2):
            pixels = np.asarray(noise(100 * number + index)).transpose(2, 0, 1).tobytes()
            assert labels[pixels] == sorted(wnids).index(wnid)
    if (tmp_path / place).is_dir():
        (tmp_path / place / "train" / "n01" / "images" / "n01_000.png").write_bytes(encoded(noise(99)))
        again = open_dataset(DataConfig("tiny_imagenet"), str(tmp_path), cache=str(tmp_path / "cache"))
        assert again.hash != dataset.hash, "it was overwritten in place"


def test_stacked_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, held = archived_mnist(tmp_path)
    monkeypatch.setattr("gen.data.known.STACKED", {"train": 400, "test": 60})
    raw, again = (load_stacked(kind, tmp_path, False, tmp_path / scratch) for scratch in "ab")
    check("stacked_mnist", raw)
    assert (raw.classes, raw.names[7]) == (1000, "007")
    for split, part in (("train", "train"), ("test", "t10k")):
        (table,), rows = raw.splits[split], np.arange(len(raw.splits[split][0]["label"]))
        images, labels = table["image"][rows], np.asarray(table["label"])  # type: ignore[index]
        np.testing.assert_array_equal(images, again.splits[split][0]["image"][rows])  # type: ignore[index]
        digits = {image.tobytes(): number % 10 for number, image in enumerate(held[f"{part}-images"])}
        for channel, place in enumerate((100, 10, 1)):
            assert [digits[image.tobytes()] for image in images[:, channel]] == (labels // place % 10).tolist()
    assert len(set(np.asarray(raw.splits["train"][0]["label"]))) > 250
    assert len(split_up(raw, 0.1)["validation"][0].rows) == 40


def test_every_source_that_needs_files_says_so(tmp_path: Path) -> None:
    for name, source in SOURCES.items():
        if source.originals:
            with pytest.raises(ValueError, match=r"^data folder [^\n]*--data-root[^\n]*$"):
                open_dataset(DataConfig(name, size=16), str(tmp_path / "absent"), cache=str(tmp_path / "cache"))
