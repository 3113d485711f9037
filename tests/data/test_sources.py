"""Loaders, on small files in the true formats, and on the real MNIST if it lies beside the repository."""

import functools
import gzip
import hashlib
import pickle
import struct
import tarfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, MNIST

from gen.config import DataConfig
from gen.data.dataset import open_dataset
from gen.data.known import load_batches, load_idx
from gen.data.raw import Raw
from gen.data.sources import SOURCES

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def idx_files(train: int = 50, test: int = 20) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """The four unpacked files of MNIST's format, and what they hold."""
    rng, files, held = np.random.default_rng(1), {}, {}
    for part, count in (("train", train), ("t10k", test)):
        images, labels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10
        files[f"{part}-images-idx3-ubyte"] = struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes()
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 2049, count) + labels.tobytes()
        held |= {f"{part}-images": images, f"{part}-labels": labels}
    return files, held


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def check_idx(raw: Raw, held: dict[str, np.ndarray]) -> None:
    assert raw.classes == 10
    for split, part in (("train", "train"), ("test", "t10k")):
        (table,) = raw.splits[split]
        assert table["image"].dtype == np.uint8
        assert table["label"].dtype == np.int64
        np.testing.assert_array_equal(table["image"], held[f"{part}-images"][:, None])
        np.testing.assert_array_equal(table["label"], held[f"{part}-labels"])


def test_digits_are_all_there_and_reach_both_ends(tmp_path: Path) -> None:
    raw = SOURCES["digits"].load(tmp_path / "absent", False, tmp_path)
    images = np.concatenate([raw.splits[split][0]["image"] for split in ("train", "test")])
    assert images.shape == (1797, 1, 8, 8)
    assert (images.min(), images.max()) == (0, 255)
    assert len(np.unique(images)) == 17
    assert np.bincount(raw.splits["test"][0]["label"]).min() >= 34


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_unpacked_idx_files(name: str, folder: str, tmp_path: Path) -> None:
    files, held = idx_files()
    write(tmp_path / folder / "raw", files)
    check_idx(SOURCES[name].load(tmp_path, False, tmp_path / "scratch"), held)


def archived_mnist(root: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """A folder of .gz files only, and torchvision's reader that knows their md5."""
    files, held = idx_files()
    packed = {f"{name}.gz": gzip.compress(files[name]) for name in NAMES}
    write(root / "MNIST" / "raw", packed)
    return type("MNIST", (MNIST,), {"resources": [(name, md5(data)) for name, data in packed.items()]}), held


def test_archives_alone_are_unpacked_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kind, held = archived_mnist(root)
    before = sorted(root.rglob("*"))
    for download in (False, True):  # what is there and sound is not fetched again
        check_idx(load_idx(kind, root, download, tmp_path / f"scratch-{download}"), held)
    assert sorted(root.rglob("*")) == before


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, dict[str, np.ndarray], list[str]]]:
    """A server of the archives on loopback, torchvision's reader that fetches from it, and the paths asked for."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    kind, held = archived_mnist(tmp_path / "served")
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, text: str, *arguments: Any) -> None:
            asked.append(self.path)

    serve = functools.partial(Handler, directory=str(tmp_path / "served" / "MNIST" / "raw"))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        kind.mirrors = [f"http://127.0.0.1:{server.server_address[1]}/"]
        yield kind, held, asked
        server.shutdown()


def test_a_download_only_when_asked_and_only_once(
    mirror: tuple[Any, dict[str, np.ndarray], list[str]], tmp_path: Path
) -> None:
    kind, held, asked = mirror
    root = tmp_path / "root"
    with pytest.raises(ValueError, match=r"does not exist[^\n]*--download$"):
        load_idx(kind, root, False, tmp_path / "a")
    assert not asked
    check_idx(load_idx(kind, root, True, tmp_path / "b"), held)
    count = len(asked)
    assert count >= 4
    check_idx(load_idx(kind, root, True, tmp_path / "c"), held)
    assert len(asked) == count


def test_a_download_that_fails_is_one_clear_line(
    mirror: tuple[Any, dict[str, np.ndarray], list[str]], tmp_path: Path
) -> None:
    kind, _, _ = mirror
    kind.mirrors = [f"{mirror}nowhere/" for mirror in kind.mirrors]
    with pytest.raises(ValueError, match=r"^MNIST cannot be read from data folder [^\n]*404[^\n]*network is there$"):
        load_idx(kind, tmp_path / "root", True, tmp_path / "scratch")


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_archive_is_named(name: str, tmp_path: Path) -> None:
    kind, _ = archived_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / f"{name}.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=rf"^[^\n]*{name}\.gz is damaged[^\n]*--download[^\n]*$"):
        load_idx(kind, tmp_path, False, tmp_path / "scratch")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keep", [0, 3, 11, 20])
def test_a_cut_unpacked_file_is_one_clear_line(name: str, keep: int, tmp_path: Path) -> None:
    files, _ = idx_files()
    write(tmp_path / "MNIST" / "raw", files | {name: files[name][:keep]})
    with pytest.raises(ValueError, match=r"^MNIST cannot be read from data folder [^\n]*$"):
        SOURCES["mnist"].load(tmp_path, False, tmp_path / "scratch")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
@pytest.mark.parametrize("made", [False, True])
def test_a_missing_or_empty_folder_is_one_clear_line(name: str, made: bool, tmp_path: Path) -> None:
    root = tmp_path / "root"
    if made:
        root.mkdir()
    expected = r"^data folder [^\n]*root (holds no|does not exist)[^\n]*(ubyte|cifar)[^\n]*--data-root[^\n]*--download$"
    with pytest.raises(ValueError, match=expected):
        open_dataset(DataConfig(name), str(root), cache=str(tmp_path / "cache"))


def cifar_files() -> tuple[Any, dict[str, bytes], np.ndarray]:
    """A small CIFAR-10 in its own format, and torchvision's reader that knows the md5 of its files."""
    pixels = np.random.default_rng(2).integers(0, 256, (6, 10, 3072), dtype=np.uint8)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    files = {
        name: pickle.dumps({"data": rows, "labels": list(range(10))}) for name, rows in zip(names, pixels, strict=True)
    }
    files["batches.meta"] = pickle.dumps({"label_names": [f"class {number}" for number in range(10)]})
    listed = [[name, md5(files[name])] for name in names]
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(files["batches.meta"])}
    kind = type("CIFAR10", (CIFAR10,), {"train_list": listed[:5], "test_list": listed[5:], "meta": meta})
    return kind, files, pixels


def check_cifar(raw: Raw, pixels: np.ndarray) -> None:
    (train,), (test,) = raw.splits["train"], raw.splits["test"]
    assert raw.classes == 10
    np.testing.assert_array_equal(train["image"], pixels[:5].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(test["image"], pixels[5].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(train["label"], np.tile(np.arange(10), 5))


def test_cifar_batches(tmp_path: Path) -> None:
    kind, files, pixels = cifar_files()
    write(tmp_path / "cifar-10-batches-py", files)
    check_cifar(load_batches(kind, tmp_path, False, tmp_path / "scratch"), pixels)


def test_cifar_archive(tmp_path: Path) -> None:
    kind, files, pixels = cifar_files()
    root, loose = tmp_path / "root", tmp_path / "loose"
    root.mkdir()
    write(loose / "cifar-10-batches-py", files)
    with tarfile.open(root / kind.filename, "w:gz") as archive:
        archive.add(loose / "cifar-10-batches-py", "cifar-10-batches-py")
    kind.tgz_md5 = md5((root / kind.filename).read_bytes())
    check_cifar(load_batches(kind, root, False, tmp_path / "scratch"), pixels)
    assert [path.name for path in root.iterdir()] == [kind.filename]


def test_cifar_batches_that_are_not_the_originals_are_not_unpickled(tmp_path: Path) -> None:
    _, files, _ = cifar_files()
    write(tmp_path / "cifar-10-batches-py", files)
    with pytest.raises(ValueError, match=r"^CIFAR10 cannot be read from data folder [^\n]*corrupted[^\n]*$"):
        SOURCES["cifar10"].load(tmp_path, False, tmp_path / "scratch")


@pytest.mark.skipif(not (SHARED / "MNIST").is_dir(), reason="no real data beside the repository")
def test_the_real_mnist(tmp_path: Path) -> None:
    before = sorted(SHARED.joinpath("MNIST").rglob("*"))
    dataset = open_dataset(DataConfig("mnist"), str(SHARED), cache=str(tmp_path))
    assert sorted(SHARED.joinpath("MNIST").rglob("*")) == before
    counts = {split: tuple(table["image"].shape) for split, (table,) in dataset.splits.items()}
    assert counts == {"train": (54000, 1, 28, 28), "validation": (6000, 1, 28, 28), "test": (10000, 1, 28, 28)}
    (test,) = dataset.splits["test"]
    assert test["label"][:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    means = [dataset.splits[split][0]["image"].double().mean() / 255 for split in ("train", "validation")]
    assert float(means[0]) * 0.9 + float(means[1]) * 0.1 == pytest.approx(0.1307, abs=1e-4)  # the well-known mean
