"""jobs.sample --translate: a user's images in another domain, each at its own size."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import gen
from gen.config import override
from gen.data.stream import from_uint8, to_uint8
from gen.engine.fit import fit
from gen.judge import Judge, shared_classifier
from gen.record.record import Home
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny
from jobs import sample
from jobs.translate import png_names
from tests.fixtures import tables
from tests.fixtures.pictures import encoded, files, noise, write
from tests.fixtures.tinter import TINTER

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
MIXED = {"coloured": {"a": sum(tables.SPLITS.values()), "b": 3}}  # all images of a were grey, and some of b


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    """A translator is an entry."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ZOO, "tinter", TINTER)
        yield


@pytest.fixture(scope="module")
def place(known: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experiments "colour" and "grey" of a translator, and "digits" of a model that translates nothing."""
    place = tmp_path_factory.mktemp("place")
    for name, entry, dataset in (
        ("colour", "tinter", tables.unpaired(8, 3)),
        ("grey", "tinter", tables.unpaired(8, 1)),
        ("mixed", "tinter", dataclasses.replace(tables.unpaired(8, 3), manifest=MIXED)),
        ("digits", "vae_mlp", tables.unlabelled(8, 1)),
    ):
        config = override(tiny(ZOO[entry]), {"budget.epochs": 1, "evaluate.images": 20, "evaluate.full": "none"})
        judge = Judge(dataset, shared_classifier(dataset, None, CPU), CPU, 20)
        home = Home(Storage(str(place)), name, "attempt")
        assert list(fit(config, dataset, device=CPU, judge=judge, home=home))[-1].ended == "finished"
    return place


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Callable[..., Result]:
    """jobs.sample of an experiment, which writes to `out`."""

    def run(name: str, *arguments: object) -> Result:
        storage = ["--storage", str(place), "--name", name, "--out", str(tmp_path / "out")]
        return CliRunner().invoke(sample.main, [*storage, *map(str, arguments)])

    return run


def written(folder: Path) -> dict[str, NDArray[np.uint8]]:
    return {str(path.relative_to(folder)): np.asarray(Image.open(path)) for path in folder.rglob("*") if path.is_file()}


def expected(place: Path, name: str, image: Image.Image, to: str) -> Tensor:
    """What the networks make of an image (C, H, W), by hand."""
    array = np.asarray(image)
    pixels = (
        torch.from_numpy(array.copy())[None] if array.ndim == 2 else torch.from_numpy(array.copy()).permute(2, 0, 1)
    )
    generator = gen.load(str(place), name).model.generators[to]  # type: ignore[index, operator]
    with torch.no_grad():
        made = generator(from_uint8(pixels[None], CPU, torch.float32))[0]
    return to_uint8(made)


@pytest.mark.parametrize("kind", ["pictures", "pictures.zip"])
def test_images_keep_their_size_and_name(kind: str, run: Callable[..., Result], place: Path, tmp_path: Path) -> None:
    images = {"one.jpg": noise(1, (8, 8)), "sub/wide.png": noise(2, (31, 9)), "sub/tall.PNG": noise(3, (10, 40))}
    folder = write(tmp_path / kind, {name: encoded(image) for name, image in images.items()})
    done = run("colour", "--translate", folder, "--to", "b")
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{tmp_path / 'out'}  3 of 3 images of {folder} translated to b by tinter, run ")
    made = written(tmp_path / "out")
    assert sorted(made) == ["one.png", "sub/tall.png", "sub/wide.png"]
    for name, image in images.items():
        found = made[str(Path(name).with_suffix(".png"))].astype(int)
        wanted = expected(place, "colour", image, "b").permute(1, 2, 0).numpy().astype(int)
        assert found.shape == wanted.shape == (image.height, image.width, 3)
        assert np.abs(found - wanted).max() <= 1  # round-off


def test_the_directions_differ_and_a_small_image_is_translated_too(run: Callable[..., Result], tmp_path: Path) -> None:
    folder = write(tmp_path / "pictures", {"a.png": encoded(noise(1, (1, 1))), "b.png": encoded(noise(2, (3, 20)))})
    seen = []
    for to in "ab":
        done = run("colour", "--translate", folder, "--to", to)
        assert done.exit_code == 0, done.output
        seen.append(written(tmp_path / "out"))
        assert [seen[-1][name].shape for name in ("a.png", "b.png")] == [(1, 1, 3), (20, 3, 3)]
    assert not np.array_equal(seen[0]["b.png"], seen[1]["b.png"])
    assert "2 took the places of files that were in" in done.stdout


def test_grey_becomes_colour_and_colour_grey_and_each_is_counted(
    run: Callable[..., Result], place: Path, tmp_path: Path
) -> None:
    grey, colour = noise(1, mode="L"), noise(2)
    alpha, turned = noise(3, (8, 9), "RGBA"), noise(4, (8, 9))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=exif)
    held = {"alpha.png": encoded(alpha), "turned.png": buffer.getvalue()}
    folder = write(tmp_path / "pictures", {"grey.png": encoded(grey), "colour.png": encoded(colour), **held})
    done = run("colour", "--translate", folder, "--to", "a")
    assert done.stdout.splitlines()[1:] == [
        "1 of them, grey, became three equal channels first",
        "1 of them had transparent pixels, which became the run's data.background",
    ]
    made = written(tmp_path / "out")
    assert {name: image.shape for name, image in made.items()} == {
        "grey.png": (8, 8, 3),
        "colour.png": (8, 8, 3),
        "alpha.png": (9, 8, 3),
        "turned.png": (8, 9, 3),
    }
    three = expected(place, "colour", grey.convert("RGB"), "a").permute(1, 2, 0).numpy()
    assert np.abs(made["grey.png"].astype(int) - three).max() <= 1
    done = run("grey", "--translate", folder, "--to", "a")
    assert "3 of them in colour became grey first, as the run's images are" in done.stdout.splitlines()
    made = written(tmp_path / "out")
    one = expected(place, "grey", colour.convert("L"), "a")[0].numpy()
    assert np.abs(made["colour.png"].astype(int) - one).max() <= 1


def test_a_grey_domain_meets_one_in_colour(run: Callable[..., Result], place: Path, tmp_path: Path) -> None:
    """Images of the grey one are grey before they are translated from it, and after they are translated to it."""
    grey, colour = noise(1, mode="L"), noise(2)
    folder = write(tmp_path / "pictures", {"grey.png": encoded(grey), "colour.png": encoded(colour)})
    assert gen.load(str(place), "mixed").grey == ["a"]
    done = run("mixed", "--translate", folder, "--to", "b")
    assert done.stdout.splitlines()[1:] == ["1 of them in colour became grey first, as the run's images are"]
    made = written(tmp_path / "out")["colour.png"].astype(int)
    three = expected(place, "mixed", colour.convert("L").convert("RGB"), "b").permute(1, 2, 0).numpy()
    assert np.abs(made - three).max() <= 1
    done = run("mixed", "--translate", folder, "--to", "a")
    assert done.stdout.splitlines()[1] == "1 of them, grey, became three equal channels first"
    one = Image.fromarray(expected(place, "mixed", colour, "a").permute(1, 2, 0).numpy()).convert("L")
    made = written(tmp_path / "out")["colour.png"].astype(int)
    assert made.shape == (8, 8)
    assert np.abs(made - np.asarray(one)).max() <= 1


def test_nothing_is_left_out_in_silence(run: Callable[..., Result], tmp_path: Path) -> None:
    held = {**files(3), "bad.jpg": b"no picture", "cut.png": encoded(noise(1, (64, 64)))[:300], "notes.txt": b"words"}
    folder = write(tmp_path / "pictures", held)
    done = run("colour", "--translate", folder, "--to", "a")
    assert done.exit_code == 0
    first, *others = done.stdout.splitlines()
    assert "3 of 5 images of" in first
    assert others[0] == "1 other files are no images by their names, such as 'notes.txt'"
    assert others[1].startswith("left out: 'bad.jpg': cannot identify image file")
    assert others[2].startswith("left out: 'cut.png': ")
    assert len(others) == 3
    assert len(written(tmp_path / "out")) == 3


def test_no_image_that_can_be_read_is_bad_input(run: Callable[..., Result], tmp_path: Path) -> None:
    folder = write(tmp_path / "pictures", {"bad.jpg": b"no picture", "worse.png": b""})
    done = run("colour", "--translate", folder, "--to", "a")
    assert done.exit_code == 2
    assert f"none of the 2 images of {folder} can be translated, such as 'bad.jpg': cannot identify" in done.output
    assert not done.stdout
    assert not (tmp_path / "out").exists()


def test_images_of_object_storage(s3: str, run: Callable[..., Result], tmp_path: Path) -> None:
    query = f"?endpoint_override={s3}&scheme=http"
    storage = Storage(f"s3://key:secret@bucket/{tmp_path.name}{query}")
    for name, data in files(2, "sub/").items():
        storage.put(name, data)
    done = run("colour", "--translate", f"s3://key:secret@bucket/{tmp_path.name}{query}", "--to", "a")
    assert f"2 of 2 images of s3://bucket/{tmp_path.name} translated to a by tinter" in done.stdout
    assert sorted(written(tmp_path / "out")) == ["sub/000.png", "sub/001.png"]


def test_names_that_differ_by_their_endings_only_are_kept_whole() -> None:
    assert png_names(["a.jpg", "b/a.jpg"]) == ["a.png", "b/a.png"]
    assert png_names(["a.jpg", "a.png", "b.tiff"]) == ["a.jpg.png", "a.png.png", "b.tiff.png"]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("digits", [], "vae_mlp translates nothing; it can imitate, reconstruct, encode"),
        ("colour", [], "tinter translates to a, b; say which by to"),
        ("colour", ["--to", "c"], "to='c' is nothing that tinter translates to; allowed: a, b"),
        ("colour", ["--to", "b", "--out", "{folder}"], "would mix translations with the images of"),
        ("colour", ["--to", "b", "--out", "{folder}/new"], "would mix translations with the images of"),
        ("colour", ["--to", "b", "--kinds", "translations"], "kinds=translations does not go with --translate"),
        ("colour", ["--to", "b", "--pair", "0,1"], "pair=0,1 does not go with --translate"),
        ("colour", ["--to", "b", "--history"], "--history and --translate draw different things"),
        ("colour", ["--to", "b", "--translate", "{folder}/none"], "does not exist; name a folder"),
        ("colour", ["--to", "b", "--translate", "{folder}/empty"], "holds no images"),
        ("colour", ["--to", "b", "--translate", ""], "translate='' names no place"),
        ("colour", ["--to", "b", "--device", "tpu"], "device"),
    ],
)
def test_refusals_are_one_line(
    name: str, arguments: list[str], message: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    folder = write(tmp_path / "pictures", files(2))
    (folder / "empty").mkdir()
    done = run(name, "--translate", folder, *(text.format(folder=folder) for text in arguments))
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures"]
    assert len(list(folder.rglob("*.png"))) == 2


def test_a_direction_without_images_is_refused(run: Callable[..., Result]) -> None:
    done = run("colour", "--to", "b")
    assert done.exit_code == 2
    assert "to=b belongs to --translate" in done.stderr
