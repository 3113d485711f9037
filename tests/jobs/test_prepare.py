"""jobs.prepare on a cluster: what it prints, what it refuses, and what a kill leaves."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gen.config import DataConfig
from gen.data.dataset import open_dataset
from gen.data.parts import Part, here
from jobs import prepare, train
from jobs.options import resolve
from tests.conftest import wait_for
from tests.fixtures.pictures import encoded, files, noise, write


def nothing_to_make(parts: Sequence[Part]) -> Iterator[int]:
    raise AssertionError(f"{len(parts)} parts are missing")
    yield


def split_folder(root: Path) -> Path:
    held = {
        f"{split}/{name}/{key}": data
        for split in ("train", "val", "test")
        for name in "ab"
        for key, data in files(6).items()
    }
    return write(root, held)


def test_a_prepare_that_is_killed_goes_on_with_what_is_missing(
    start_job: Callable[..., subprocess.Popen[str]], run_job: Callable, tmp_path: Path
) -> None:
    """A pipe among the images holds its part up until the cluster has made the rest; then the job is killed."""
    place, parts = split_folder(tmp_path / "set"), tmp_path / "parts"
    pipe = place / "test" / "b" / "005.png"
    data = pipe.read_bytes()
    pipe.unlink()
    os.mkfifo(pipe)
    arguments = ["--data", f"images:{place}", "--size", 4, "--parts", parts]
    process = start_job("prepare", *arguments)
    wait_for(lambda: len(list(parts.rglob("*.json"))) == 2 or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    made = {path: path.stat().st_ino for path in parts.rglob("*.npy")}
    assert len(made) == 2
    pipe.unlink()
    pipe.write_bytes(data)
    done = run_job("prepare", *arguments)
    assert done.returncode == 0, done.stderr
    first, *_, progress, last = done.stdout.splitlines()
    assert first == "decoding 12 images in 1 parts"
    assert re.search(r"^12 of 12 images, [\d,]+ a second, 0 s left$", progress)
    expected = r"^images:\S+set: 12 train, 12 validation, 12 test; 4x4x3, 2 classes; hash [0-9a-f]{16} in .+$"
    assert re.search(expected, last)
    assert all(path.stat().st_ino == number for path, number in made.items()), "what was made stayed as it was"
    config = DataConfig(f"images:{place}", size=4, stratified=True)
    other = open_dataset(config, cache=str(tmp_path / "host"), parts=str(parts), runner=nothing_to_make)
    assert other.hash in last, "another host takes the parts and decodes nothing"
    assert other.hash == open_dataset(config, cache=str(tmp_path / "alone")).hash


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs jobs.prepare in this process, which makes the parts, with a cache of its own."""
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prepare, "over_cluster", here)
    return lambda *arguments: CliRunner().invoke(prepare.main, list(map(str, arguments)))


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_what_is_prepared_is_told_and_a_change_makes_only_its_part(job: Callable[..., Result], tmp_path: Path) -> None:
    place = split_folder(tmp_path / "set")
    arguments = ["--data", f"images:{place}", "--parts", tmp_path / "parts"]
    assert job(*arguments).stdout.startswith("decoding 36 images in 3 parts\n")
    again = job(*arguments)
    assert again.stdout.startswith(f"images:{place}: 12 train, 12 validation, 12 test; 8x8x3, 2 classes; hash ")
    (place / "val" / "a" / "more.png").write_bytes(encoded(noise(9)))
    more = job(*arguments)
    assert more.stdout.startswith("decoding 13 images in 1 parts\n")
    assert "12 train, 13 validation, 12 test" in more.stdout
    (place / "val" / "a" / "more.png").write_bytes(encoded(noise(10)))  # in place: no folder's date tells of it
    assert job(*arguments).stdout.startswith("decoding 13 images in 1 parts\n")


def test_what_prepare_refuses_is_one_line_and_skip_bad_leaves_it_out(
    job: Callable[..., Result], tmp_path: Path
) -> None:
    place = write(tmp_path / "set", {**files(20), "note.jpg": b"no picture", "wide.png": encoded(noise(1, (9, 8)))})
    assert "is 9x8; give --size" in refused(job("--data", f"images:{place}"))
    text = refused(job("--data", f"images:{place}", "--size", 4))
    assert text.startswith("error: 1 images of")
    assert "'note.jpg': cannot identify image file" in text
    done = job("--data", f"images:{place}", "--size", 4, "--skip-bad")
    assert done.exit_code == 0, done.stderr
    assert "decoding" not in done.stdout, "the sound ones had been decoded"
    assert re.search(r": 1[78] train, 2 validation, [12] test; ", done.stdout)
    assert "left out: 'note.jpg': cannot identify image file" in done.stdout
    assert "setting model.beta is not about data" in refused(job("--set", "model.beta=1"))
    twice = "data.size=5 by --set and 4 by its own option; say one of them"
    assert twice in refused(job("--data", f"images:{place}", "--size", 4, "--set", "data.size=5"))
    assert "nearest valid: cifar10" in refused(job("--data", "cifar"))


def test_what_is_left_out_is_told_by_reason(job: Callable[..., Result], tmp_path: Path) -> None:
    place = write(tmp_path / "set", {**files(9), "a.heic": b"", "@eaDir/000.png": b""})
    for _ in range(2):  # found in the cache, it tells the same
        lines = job("--data", f"images:{place}").stdout.splitlines()
        assert [line.partition(",")[0] for line in lines[-2:]] == [
            "aside: 1 files are thumbnails or old copies of a file server (@eaDir or #recycle)",
            "aside: 1 files end in .heic",
        ]


def test_grey_images_in_a_set_in_colour_are_counted_by_column(job: Callable[..., Result], tmp_path: Path) -> None:
    """Domains of one channel and of three may meet; grey images may be spread among those in colour, too."""
    held = {**files(9, "trainA/", mode="L"), **files(9, "trainB/"), **files(2, "testA/", mode="L")}
    place = write(tmp_path / "set", {**held, **files(2, "testB/"), "testB/more.png": encoded(noise(9, mode="L"))})
    first = "grey: 11 images of column a became three equal channels, for others are in colour"
    second = "grey: 1 images of column b became three equal channels, for others are in colour"
    for _ in range(2):  # found in the cache, it tells the same
        assert job("--data", f"unpaired:{place}").stdout.splitlines()[-2:] == [first, second]
    assert "became" not in job("--data", f"images:{write(tmp_path / 'other', files(9, mode='L'))}").stdout


def test_a_job_prepares_by_itself_and_names_the_experiment_after_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As jobs.train does before it starts anything; the place is named as its workers will need it."""
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "Grey squares.zip", {**files(30, "a/", mode="L"), **files(30, "b/", mode="L")})
    context = train.main.make_context(
        "train", ["--entry", "vae_mlp", "--data", "images:Grey squares.zip", "--labels", "7"]
    )
    asked = resolve(context.params)
    assert asked.name == "vae_mlp-Grey-squares"
    assert asked.config.data == DataConfig(f"images:{tmp_path}/Grey squares.zip", labels=7, stratified=True)
    assert asked.open().columns == {"image", "label", "unlabelled"}
