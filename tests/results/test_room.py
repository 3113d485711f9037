"""Places that are full: one line that names the place and the room left; nothing recorded is lost, and it goes on."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from gen import results
from gen.config import DataConfig, override
from gen.data.dataset import Dataset, open_dataset
from gen.engine.fit import fit
from gen.judge import Judge
from gen.record.record import Home
from gen.results.room import FullError, in_words, room_at
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny
from jobs import sample, train
from tests.conftest import wait_for
from tests.fixtures.disk import Disk
from tests.fixtures.pictures import files, write

FULL = r"is full \(No space left on device; \d+ bytes left\); make room there and submit the same again"


@contextmanager
def short_files(size: int) -> Iterator[None]:
    """Files of this process may have at most `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_does_not_fit_leaves_what_was_there(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.put("table/file", b"old")
    with (
        short_files(1 << 16),
        pytest.raises(FullError, match=rf"^{tmp_path} is full \(File too large; .* left\); make"),
    ):
        storage.put("table/file", bytes(1 << 17))
    assert storage.get("table/file") == b"old"
    assert [path.name for path in (tmp_path / "table").iterdir()] == ["file"]


def test_a_run_on_a_full_disk_loses_nothing_and_goes_on(disk: Disk, digits: Dataset, judge: Judge) -> None:
    settings = {"budget.epochs": 4, "budget.checkpoint_seconds": 0, "evaluate.images": 60, "evaluate.full": "none"}
    config, storage = override(tiny(ZOO["vae_mlp"]), settings), Storage(str(disk.place))

    def ticks(attempt: str):
        return fit(config, digits, device=torch.device("cpu"), judge=judge, home=Home(storage, "e", attempt))

    first = ticks("a")
    for _ in range(2):
        next(first)
    disk.fill()
    before = disk.names()
    with pytest.raises(FullError, match=f"^{disk.place} {FULL}"):
        list(first)
    assert disk.names() == before
    assert sorted(results.evals(storage, "e", scope="tick")["tick"].unique()) == [1, 2]
    disk.free()
    last = list(ticks("b"))[-1]
    assert last.ended == "finished"
    found = results.evals(storage, "e", scope="tick")
    assert sorted(found["tick"].unique()) == [1, 2, 3, 4]
    assert not found.duplicated(["tick", "protocol"]).any()
    assert len(results.events(storage, "e", kind="resume")) == 1


def stored(disk: Disk) -> list[str]:
    """Arrays and notes on the disk, wherever they lie."""
    return [name for name in disk.names() if Path(name).suffix in (".npy", ".json")]


def test_a_full_cache_and_full_parts(disk: Disk, tmp_path: Path) -> None:
    pictures = DataConfig(f"images:{write(tmp_path / 'set', files(40))}")
    disk.fill()
    for data, cache, parts, place in (
        (DataConfig("digits"), disk.place, None, f"cache folder {disk.place}"),
        (pictures, tmp_path / "cache", disk.place, str(disk.place)),
    ):
        shelf, before = None if parts is None else str(parts), stored(disk)
        with pytest.raises(FullError, match=f"^{place}.* {FULL}"):
            open_dataset(data, cache=str(cache), parts=shelf)
        assert stored(disk) == before
        disk.free()
        assert len(open_dataset(data, cache=str(cache), parts=shelf).column("train", "image"))
        disk.fill()


def test_a_job_says_it_before_it_starts(
    disk: Disk, tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", cache)
    disk.fill()
    done = CliRunner().invoke(train.main, ["--entry", "vae_mlp", "--storage", str(disk.place / "results")])
    assert done.exit_code == 2
    assert re.match(f"error: storage {disk.place}/results {FULL}", done.stderr)
    assert done.stderr.count("\n") == 1
    with pytest.raises(click.ClickException, match=f"^out={disk.place}/pictures {FULL}"):
        sample.write(disk.place / "pictures" / "picture.png", bytes(10_000), "")
    assert not [name for name in disk.names() if name.endswith("png")]


def test_a_lease_on_a_full_disk_tells_it_and_holds_on(disk: Disk) -> None:
    with results.Lease(Storage(str(disk.place)), "e", seconds=0.6) as lease:
        lease.check()

        def full() -> bool:
            disk.fill()  # a heartbeat that came meanwhile gave the room of the one before back
            return is_full(lease)

        wait_for(full)
        disk.free()
        wait_for(lambda: not is_full(lease))


def is_full(lease: results.Lease) -> bool:
    """Whether a check of the lease tells that its storage is full."""
    try:
        lease.check()
    except FullError as error:
        return bool(re.search(FULL, str(error)))
    return False


def test_a_disk_that_takes_no_more_files(disk: Disk) -> None:
    def touch(count: int) -> None:
        with room_at(str(disk.place), disk.place):
            for number in range(count):
                (disk.place / str(number)).touch()

    with pytest.raises(FullError, match=r"No space left on device; 4.\d MB left, and none for another file"):
        touch(501)


def test_a_full_object_store() -> None:
    def write(code: str) -> None:
        with room_at("s3://bucket"):
            raise OSError(f"When completing multiple part upload: AWS Error {code} during PutObject operation")

    with pytest.raises(FullError, match=r"^s3://bucket is full \(No space left on device\); make room"):
        write("XMinioStorageFull")
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        write("ACCESS_DENIED")


def test_bytes_in_words() -> None:
    assert [in_words(count) for count in (0, 999, 4096, 12_300_000, 5 * 10**9)] == [
        *("0 bytes", "999 bytes", "4.1 kB", "12.3 MB", "5.0 GB")
    ]
