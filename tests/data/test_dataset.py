"""The cache: whole or not there, one for all processes, built again when damaged."""

import json
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from gen.config import DataConfig
from gen.data.dataset import Dataset, check_needs, key_of, open_dataset, settings_of
from gen.data.raw import Raw, Source
from gen.data.sources import SOURCES
from tests.conftest import GIVE_UP

SPLITS = ("train", "validation", "test")


def toy(images: np.ndarray, labels: np.ndarray | None = None, classes: int = 2, pattern: str = "") -> Source:
    """A source of the same images for training and test."""
    columns = {"image": images} | ({} if labels is None else {"label": labels})
    raw = Raw({"train": (columns,), "test": (columns,)}, classes)
    return Source(lambda root, download, scratch: raw, (pattern,) if pattern else ())


def folder(cache: Path) -> Path:
    (found,) = [path for path in cache.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return found


def same(one: Dataset, other: Dataset) -> bool:
    pairs = [(one.splits[split][0], other.splits[split][0]) for split in SPLITS]
    return one.hash == other.hash and all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)


def test_splits_are_disjoint_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.arange(200)
    pixels = np.zeros((200, 1, 8, 8), np.uint8)
    pixels[:, 0, 0, 0] = numbers
    monkeypatch.setitem(SOURCES, "toy", toy(pixels, numbers, classes=200))
    dataset = open_dataset(DataConfig("toy", validation=0.15), cache=str(tmp_path))
    rows = {split: dataset.splits[split][0]["label"].tolist() for split in SPLITS}
    assert len(rows["validation"]) == 30
    assert sorted(rows["train"] + rows["validation"]) == numbers.tolist()
    assert rows["test"] == numbers.tolist()
    for split in SPLITS:
        assert dataset.splits[split][0]["image"][:, 0, 0, 0].tolist() == rows[split]


def test_digits(tmp_path: Path) -> None:
    dataset = open_dataset(DataConfig("digits"), cache=str(tmp_path))
    assert {split: len(dataset.splits[split][0]["label"]) for split in SPLITS} == {
        "train": 1293,
        "validation": 144,
        "test": 360,
    }
    assert (dataset.shape.channels, dataset.shape.size, dataset.shape.classes) == (1, 8, 10)
    assert dataset.columns == {"image", "label"}
    assert dataset.hash == "6e4ed430248d14b0"  # changes only if the images or the split do, and then runs start anew


def test_caches_of_earlier_versions_are_found() -> None:
    """Settings that came later are left out of a cache's name at their defaults."""
    keys = [key_of(settings_of(config)) for config in (DataConfig("digits"), DataConfig("cifar10", size=64, labels=90))]
    assert keys == ["82739e5f1c49", "451450a41207"]
    assert key_of(settings_of(DataConfig("digits", fit="pad"))) != keys[0]


def test_two_caches_hold_the_same(tmp_path: Path) -> None:
    config = DataConfig("digits", size=12)
    one, other = (open_dataset(config, cache=str(tmp_path / name)) for name in ("a", "b"))
    assert same(one, other)
    assert one.shape.size == 12
    assert one.hash != open_dataset(DataConfig("digits"), cache=str(tmp_path / "a")).hash


def test_the_default_cache_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path / "elsewhere"))
    open_dataset(DataConfig("digits"))
    assert folder(tmp_path / "elsewhere").name.startswith("digits-")


def test_resizing_averages_when_it_shrinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = np.indices((16, 16)).sum(0) % 2 * 255  # without antialiasing it would become black, white or a moire
    monkeypatch.setitem(SOURCES, "toy", toy(np.tile(board.astype(np.uint8), (10, 3, 1, 1))))
    small = open_dataset(DataConfig("toy", size=4), cache=str(tmp_path)).splits["train"][0]["image"]
    assert small.shape == (9, 3, 4, 4)
    assert small.sub(127).abs().max() <= 2


def test_pages_are_shared_and_no_warning_is_given(tmp_path: Path) -> None:
    config = DataConfig("digits")
    open_dataset(config, cache=str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = open_dataset(config, cache=str(tmp_path))
    image = dataset.splits["train"][0]["image"]
    assert int(image.sum()) > 0
    maps = Path("/proc/self/smaps")
    if not maps.exists():
        pytest.skip("the kernel does not tell how pages are shared")
    regions = maps.read_text().split(str(folder(tmp_path) / "train-0-image.npy"))[1:]
    assert regions, "mapped, not read"
    fields = dict(line.split(":", 1) for line in regions[0].split("VmFlags")[0].splitlines()[1:])
    assert fields["Anonymous"].split() == ["0", "kB"], "all pages are the file's own: none was copied"


@pytest.mark.parametrize("damage", ["manifest cut", "manifest gone", "column cut", "column gone", "other manifest"])
def test_a_damaged_cache_is_built_again(damage: str, tmp_path: Path) -> None:
    config = DataConfig("digits")
    sound = open_dataset(config, cache=str(tmp_path))
    manifest, column = folder(tmp_path) / "manifest.json", folder(tmp_path) / "train-0-image.npy"
    if damage == "manifest cut":
        manifest.write_text(manifest.read_text()[:200])
    elif damage == "other manifest":
        manifest.write_text(json.dumps([1, 2]))
    elif damage == "column cut":
        data = column.read_bytes()
        column.unlink()  # not in place: `sound` still maps the old file
        column.write_bytes(data[:-5])
    else:
        (manifest if damage == "manifest gone" else column).unlink()
    assert same(open_dataset(config, cache=str(tmp_path)), sound)
    assert json.loads(manifest.read_text())["hash"] == sound.hash


KILLED = """
import os, signal, sys
from gen.config import DataConfig
from gen.data.dataset import open_dataset
def hook(event, arguments):
    if event == sys.argv[2] and sys.argv[3] in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
open_dataset(DataConfig("digits"), cache=sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "path"), [("open", "validation-0-image"), ("open", "manifest.json"), ("os.rename", "fresh")]
)
def test_a_build_that_is_killed_leaves_nothing_in_the_way(event: str, path: str, tmp_path: Path) -> None:
    if path == "manifest.json":  # it is first looked for, absent, in the final folder
        path = "fresh/manifest.json"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), event, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [name.name for name in tmp_path.iterdir() if name.name.startswith(".digits-")], "it was killed in the build"
    dataset = open_dataset(DataConfig("digits"), cache=str(tmp_path))
    assert dataset.hash == "6e4ed430248d14b0"
    assert sorted(name.name.split("-")[0] for name in tmp_path.iterdir()) == ["digits", "digits"], "lock and folder"


TOGETHER = """
import dataclasses, os, sys, time
from pathlib import Path
from gen.config import DataConfig
from gen.data.dataset import open_dataset
from gen.data.sources import SOURCES
real = SOURCES["digits"]
def slow(root, download, scratch):
    with open(Path(sys.argv[1]) / "builds", "a") as file:
        file.write("built ")
    time.sleep(1)
    return real.load(root, download, scratch)
SOURCES["digits"] = dataclasses.replace(real, load=slow)
Path(sys.argv[1], f"ready-{os.getpid()}").touch()
while len(list(Path(sys.argv[1]).glob("ready-*"))) < 2:
    time.sleep(0.01)
print(open_dataset(DataConfig("digits"), cache=str(Path(sys.argv[1]) / "cache")).hash)
"""


@pytest.mark.slow
def test_two_processes_at_once_build_one_cache(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TOGETHER, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=GIVE_UP)[0].strip() for process in both] == ["6e4ed430248d14b0"] * 2
    assert (tmp_path / "builds").read_text() == "built "


def test_the_cache_follows_the_originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache, config = tmp_path / "root", str(tmp_path / "cache"), DataConfig("toy")
    root.mkdir()

    def load(root: Path, download: bool, scratch: Path) -> Raw:
        if not (root / "pixels").exists():
            raise ValueError("no pixels")
        columns = {"image": np.frombuffer((root / "pixels").read_bytes(), np.uint8).reshape(-1, 1, 8, 8)}
        return Raw({"train": (columns,), "test": (columns,)}, 0)

    monkeypatch.setitem(SOURCES, "toy", Source(load, ("pixels",)))
    (root / "pixels").write_bytes(bytes(64 * 20))
    first = open_dataset(config, str(root), cache=cache)
    (root / "pixels").write_bytes(bytes(range(64)) * 20)
    second = open_dataset(config, str(root), cache=cache)
    assert first.hash != second.hash
    assert int(first.splits["train"][0]["image"].sum()) == 0, "what is mapped stays as it was"
    shutil.rmtree(root)
    assert same(open_dataset(config, cache=cache), second), "without a root the cache serves"
    with pytest.raises(ValueError, match="no pixels"):  # a folder that is named must be there
        open_dataset(config, str(root), cache=cache)
    assert same(open_dataset(config, cache=cache), second), "and the cache is not lost"


@pytest.mark.parametrize(("name", "near"), [("mnits", "mnist"), ("cifar", "cifar10"), ("fashion", "fashion_mnist")])
def test_an_unknown_name_gets_the_nearest(name: str, near: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^unknown data set '{name}'; nearest valid: .*\b{near}\b"):
        open_dataset(DataConfig(name), cache=str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("images", "labels", "fault"),
    [
        (np.zeros((9, 1, 8, 6), np.uint8), np.zeros(9, np.int64), "square"),
        (np.zeros((9, 1, 8, 8), np.uint8), np.zeros(8, np.int64), "lengths"),
        (np.zeros((9, 1, 8, 8), np.uint8), np.full(9, 2), "labels"),
    ],
)
def test_bad_tables_are_refused(
    images: np.ndarray, labels: np.ndarray, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "toy", toy(images, labels))
    with pytest.raises(ValueError, match=rf"^data set toy [^\n]*{fault}[^\n]*$"):
        open_dataset(DataConfig("toy"), cache=str(tmp_path))
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^cache folder [^\n]* cannot be written [^\n]*GENFLEET_CACHE$"):
        open_dataset(DataConfig("digits"), cache=str(tmp_path / "file" / "cache"))


def test_needs_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "toy", toy(np.zeros((9, 1, 8, 8), np.uint8), classes=0))
    dataset = open_dataset(DataConfig("toy"), cache=str(tmp_path))
    check_needs(frozenset({"image"}), dataset)
    with pytest.raises(ValueError, match=r"^data set toy lacks column label that the entry needs; it has: image$"):
        check_needs(frozenset({"image", "label"}), dataset)
