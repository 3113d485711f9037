"""Caches, parts and manifests that are damaged: made anew, which is said; or one line that says why that cannot be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gen.config import DataConfig
from gen.damage import SEAL, DamageError, take_remarks
from gen.data import sums
from gen.data.dataset import open_dataset
from gen.data.sources import SOURCES
from jobs import prepare
from tests.data.test_dataset import folder, same, toy
from tests.fixtures.harm import cuts, flips
from tests.fixtures.pictures import files, write

rng = np.random.default_rng(0)
IMAGES, LABELS = rng.integers(0, 256, (24, 1, 8, 8)).astype(np.uint8), np.arange(24) % 2


@pytest.fixture(params=[0, 6], ids=["all labels", "few labels"])
def config(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    monkeypatch.setitem(SOURCES, "toy", toy(IMAGES, LABELS))
    return DataConfig("toy", validation=0.25, labels=request.param)


def replace(file: Path, data: bytes) -> None:
    """Puts other bytes in place; those who have the old file mapped keep it."""
    file.unlink()
    file.write_bytes(data)


def test_a_flipped_bit_of_a_cache_is_found_or_changes_nothing(config: DataConfig, tmp_path: Path) -> None:
    first = open_dataset(config, cache=str(tmp_path))
    said = 0
    for file in sorted([*tmp_path.rglob("*.npy"), *tmp_path.rglob("manifest.json")]):
        data = file.read_bytes()
        for where, harmed in (*flips(data, 6), *cuts(data)):
            replace(file, harmed)
            again = open_dataset(config, cache=str(tmp_path))
            assert same(again, first), f"{file} {where}"
            assert (again.shape, again.name) == (first.shape, first.name)
            if lines := take_remarks():
                said += 1
                assert lines[0].startswith(f"cache {file.parent} was damaged (")
                assert lines[0].endswith("), and was made anew")
    assert said > 60


def test_a_host_compares_a_cache_once_and_again_when_a_file_changed_or_somebody_asks(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_dataset(config, cache=str(tmp_path))
    compared = list[str]()
    sum_of = sums.sum_of

    def sum_and_tell(path: Path) -> int:
        compared.append(path.name)
        return sum_of(path)

    monkeypatch.setattr(sums, "sum_of", sum_and_tell)
    open_dataset(config, cache=str(tmp_path))
    assert compared == [], "a cache that this host has written or compared"
    file = next(tmp_path.rglob("test-0-image.npy"))
    os.utime(file)
    assert same(open_dataset(config, cache=str(tmp_path)), first)
    assert compared.count("test-0-image.npy") == 1
    compared.clear()
    open_dataset(config, cache=str(tmp_path))
    assert compared == []
    monkeypatch.setattr(sums.socket, "gethostname", lambda: "another")
    open_dataset(config, cache=str(tmp_path))
    assert compared.count("test-0-image.npy") >= 1
    compared.clear()
    open_dataset(config, cache=str(tmp_path), recheck=True)
    assert compared.count("test-0-image.npy") >= 1
    assert take_remarks() == []


def test_a_flip_that_leaves_no_trace_is_found_by_verify(config: DataConfig, tmp_path: Path) -> None:
    """As a disk makes it, which changes no time: here the mark is made to fit."""
    first = open_dataset(config, cache=str(tmp_path))
    file = next(tmp_path.rglob("train-0-image.npy"))
    data = file.read_bytes()
    replace(file, data[:-1] + bytes([data[-1] ^ 16]))
    sums.mark(file.parent, sums.files_of(json.loads((file.parent / "manifest.json").read_text())))
    torn = open_dataset(config, cache=str(tmp_path))
    assert not same(torn, first)
    assert same(open_dataset(config, cache=str(tmp_path), recheck=True), first)
    (line,) = take_remarks()
    assert line == f"cache {file.parent} was damaged (train-0-image.npy), and was made anew"


def test_a_cache_of_an_earlier_version_is_used_and_compared_by_its_hash(config: DataConfig, tmp_path: Path) -> None:
    first = open_dataset(config, cache=str(tmp_path))
    for path in tmp_path.rglob("manifest.json"):
        manifest = json.loads(path.read_text())
        path.write_text(json.dumps({key: manifest[key] for key in manifest if key not in ("sums", *SEAL)}))
        for mark in path.parent.glob(".compared-*"):
            mark.unlink()
    assert same(open_dataset(config, cache=str(tmp_path)), first)
    assert take_remarks() == []
    file = next(tmp_path.rglob("train-0-image.npy"))
    data = file.read_bytes()
    replace(file, data[:-1] + bytes([data[-1] ^ 16]))
    assert same(open_dataset(config, cache=str(tmp_path)), first)
    assert take_remarks() == [f"cache {file.parent} was damaged (an array), and was made anew"]


def test_a_damaged_cache_without_originals_is_one_line(tmp_path: Path) -> None:
    place = write(tmp_path / "pictures", files(8))
    config = DataConfig(f"images:{place}", size=8)
    open_dataset(config, cache=str(tmp_path / "cache"))
    file = folder(tmp_path / "cache") / "train-0-image.npy"
    replace(file, file.read_bytes()[:-1] + b"\1")
    for picture in place.iterdir():
        before = picture.stat()
        picture.write_bytes(b"x" * before.st_size)
        os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(
        DamageError, match=r"^cache \S+ is damaged \(train-0-image.npy\) and cannot be made anew: 8 ima"
    ):
        open_dataset(config, cache=str(tmp_path / "cache"), verify=False)


def test_damaged_parts_are_made_anew(tmp_path: Path) -> None:
    """Which other hosts left where all find them."""
    place = write(tmp_path / "pictures", files(40))
    config, shelf = DataConfig(f"images:{place}", size=8), str(tmp_path / "shelf")
    first = open_dataset(config, cache=str(tmp_path / "cache"), parts=shelf)
    take_remarks()
    said = 0
    for number, file in enumerate(sorted((tmp_path / "shelf").rglob("*-image-*.*"))):
        data = file.read_bytes()
        for where, harmed in (*flips(data, 6), *cuts(data)):
            replace(file, harmed)
            cache = str(tmp_path / f"cache-{number}-{where}")
            assert same(open_dataset(config, cache=cache, parts=shelf), first), f"{file} {where}"
            lines = take_remarks()
            said += len(lines)
            assert all(line.startswith(f"{file} was damaged, and ") for line in lines)
        replace(file, data)
    assert said > 20


def test_the_job_verifies_and_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path))
    first = CliRunner().invoke(prepare.main, ["--data", "digits", "--verify"])
    assert first.exit_code == 0
    assert "7 files of digits are what was written" in first.stdout
    file = next(tmp_path.rglob("test-0-image.npy"))
    replace(file, file.read_bytes()[:-1] + b"\1")
    again = CliRunner().invoke(prepare.main, ["--data", "digits", "--verify"])
    assert again.exit_code == 0
    assert f"cache {file.parent} was damaged (test-0-image.npy), and was made anew" in again.stderr
