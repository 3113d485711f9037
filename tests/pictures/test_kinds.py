"""Each kind of picture shows what its docstring says, checked by its pixels."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from torch import Tensor

from gen.capabilities import (
    Conditional,
    Decodes,
    Embeds,
    Encodes,
    Imitates,
    Interpolates,
    Reconstructs,
    Translates,
    has,
)
from gen.config import override
from gen.data.dataset import Dataset
from gen.data.stream import mixture, to_uint8
from gen.engine.build import build_model
from gen.phase import Batch, Model, Phase, Shape
from gen.pictures import KINDS, Scene, choose_kinds, grids, kinds, paint
from gen.zoo import ZOO, tiny
from tests.fixtures.still import Still

CPU = torch.device("cpu")
SIZE, CLASSES = 4, 3
CELL = SIZE + 1  # with the line on its left


class Toy(Model, Conditional, Reconstructs, Encodes, Interpolates, Decodes, Embeds):
    """What it makes tells in its pixels what it was asked for."""

    codebook_size, latent_size, classes = 6, 2, CLASSES

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def phases(self) -> list[Phase]:
        return []

    def imitate(self, batch: Batch) -> dict[str, Tensor]:  # upper half: the label; lower half: noise
        images = flat(batch["label"] / CLASSES)
        images[:, :, SIZE // 2 :] = torch.rand(len(images), 1, 1, 1)
        return {"image": images}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": -batch["image"]}

    def latent_posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:  # so the lines have originals at their ends
        raise NotImplementedError

    def interpolate(self, batch: Batch, steps: int) -> Tensor:
        made = self.reconstruct(batch)["image"]
        shares = torch.linspace(0, 1, steps).view(1, -1, 1, 1, 1)
        return torch.lerp(made[::2, None], made[1::2, None], shares)

    def decode_latents(
        self, latents: Tensor, batch: Batch
    ) -> Tensor:  # upper half: the first latent, lower: the second
        assert len(latents) == len(batch["image"])
        assert len(set(batch["label"].tolist())) == 1
        shares = torch.special.ndtr(latents) * 2 - 1
        return shares[:, :, None].expand(-1, -1, SIZE // 2 * SIZE).reshape(-1, 1, SIZE, SIZE)

    def codes(self, batch: Batch) -> Tensor:  # a code for each of the first four pixels; the last code is for none
        return to_uint8(batch["image"]).flatten(1)[:, :4].long() % (self.codebook_size - 1)

    def code_vectors(self) -> Tensor:
        return torch.eye(self.codebook_size, 5)

    def nearest_codes(self, vectors: Tensor) -> Tensor:
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        raise NotImplementedError


def flat(values: Tensor) -> Tensor:
    """Images (N, 1, SIZE, SIZE) of one value each."""
    return values.view(-1, 1, 1, 1).repeat(1, 1, SIZE, SIZE).float()


@pytest.fixture
def dataset() -> Dataset:
    """Sixty random test images, of which the classes 0 and 2 have some."""
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.integers(0, 256, (60, 1, SIZE, SIZE), dtype=np.uint8))
    table = {"image": images, "label": torch.from_numpy(random.integers(0, 2, 60) * 2)}
    return Dataset("toy", Shape(1, SIZE, CLASSES), "hash", dict.fromkeys(("train", "validation", "test"), (table,)))


@pytest.fixture
def images(dataset: Dataset) -> NDArray[np.uint8]:
    return dataset.splits["test"][0]["image"][:, 0].numpy()


def drawn(name: str, dataset: Dataset, shape: tuple[int, int], **settings: Any) -> NDArray[np.uint8]:
    """The pixels of a kind's picture before it was enlarged, which must be of `shape`."""
    (kind,) = choose_kinds(Toy(), [name])
    return small(Image.open(io.BytesIO(paint(kind, Toy(), Scene(dataset, CPU, **settings)))), shape)


def small(image: Image.Image, shape: tuple[int, int]) -> NDArray[np.uint8]:
    scale = image.height // shape[0]
    assert image.size == (shape[1] * scale, shape[0] * scale)
    return np.asarray(image.convert("L"))[::scale, ::scale]


def cell(picture: NDArray[np.uint8], row: int, column: int, left: int = 0) -> NDArray[np.uint8]:
    """One image of a grid that begins at column `left` of the picture."""
    top, left = 1 + row * CELL, left + 1 + column * CELL
    return picture[top : top + SIZE, left : left + SIZE]


def test_fakes_stand_beside_real(dataset: Dataset, images: NDArray[np.uint8]) -> None:
    side = 8 * CELL + 1
    picture = drawn("fakes", dataset, (side, 2 * side + 4))
    order = mixture(60)
    for number in range(64):  # the split repeats
        assert np.array_equal(cell(picture, number // 8, number % 8, left=side + 4), images[order[number % 60]])


def test_reconstructions_stand_under_their_originals(dataset: Dataset, images: NDArray[np.uint8]) -> None:
    picture = drawn("reconstructions", dataset, (8 * CELL + 1, 16 * CELL + 1))
    for number, image in enumerate(images[mixture(60).numpy()]):
        row, column = divmod(number, 16)
        assert np.array_equal(cell(picture, 2 * row, column), image)
        assert np.array_equal(cell(picture, 2 * row + 1, column), 255 - image)


def test_a_row_a_class_carries_its_label_and_shares_noise(dataset: Dataset, images: NDArray[np.uint8]) -> None:
    left = CELL + 1 + 4
    picture = drawn("classes", dataset, (CLASSES * CELL + 1, left + 10 * CELL + 1))
    labels = dataset.splits["test"][0]["label"].numpy()
    for label in range(CLASSES):
        real = images[np.flatnonzero(labels == label)[0]] if label in labels else np.full((SIZE, SIZE), 255)
        assert np.array_equal(cell(picture, label, 0), real)
        for column in range(10):
            fake, above = cell(picture, label, column, left), cell(picture, 0, column, left)
            assert (fake[: SIZE // 2] == to_uint8(torch.tensor(label / CLASSES)).item()).all()
            assert np.array_equal(fake[SIZE // 2 :], above[SIZE // 2 :])
    assert len({cell(picture, 0, column, left)[-1, 0] for column in range(10)}) > 5


class Translator(Still, Translates):
    """Into b it darkens, into a it turns upside down."""

    sources = {"a": "b", "b": "a"}  # noqa: RUF012

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return {"a": batch["b"].flip(2), "b": batch["a"] * 0.5 - 0.5}


class Cycler(Translator, Reconstructs):
    """It translates back too, of b or of both."""

    reconstructed = ("a", "b")

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {column: -batch[column] for column in self.reconstructed}


class HalfCycler(Cycler):
    reconstructed = ("b",)


@pytest.fixture
def unpaired(images: NDArray[np.uint8]) -> Dataset:
    domains = ({"a": torch.from_numpy(images[:40, None])}, {"b": torch.from_numpy(images[40:, None])})
    return Dataset("domains", Shape(1, SIZE, 0), "hash", dict.fromkeys(("train", "validation", "test"), domains))


@pytest.mark.parametrize("kind", [Translator, Cycler, HalfCycler])
def test_strips_have_sources_translations_and_what_comes_back(kind: type[Translator], unpaired: Dataset) -> None:
    model, deep = kind(), 2 if kind is Translator else 3
    (drawn,) = choose_kinds(model)
    assert drawn.name == "translations"
    assert drawn.shows(model) == "sources over translations" + (" over what comes back" if deep == 3 else "")
    wide = 16 * CELL + 1
    shape = (4 * deep * CELL + 1, 2 * wide + 4)
    picture = small(Image.open(io.BytesIO(paint(drawn, model, Scene(unpaired, CPU)))), shape)
    order = mixture(40)
    for number in range(64):
        row, column = divmod(number, 16)
        for place, source in enumerate("ba"):  # b becomes a, then a becomes b
            values = unpaired.column("test", source)
            image = values[order[number % 40] % len(values), 0].numpy().astype(int)
            made = image[::-1] if source == "b" else (image / 2)
            back = 255 - image if source in getattr(model, "reconstructed", ()) else np.full_like(image, 255)
            for below, expected in enumerate((image, made, back)[:deep]):
                shown = cell(picture, deep * row + below, column, place * (wide + 4)).astype(int)
                assert np.abs(shown - expected).max() <= 1, (number, source, below)


class Plain(Toy):
    """One whose settings took its conditioning away; its attribute stayed."""

    without = frozenset({Conditional})


class Counted(Model, Imitates):
    """It has classes, and does not say that it imitates by them."""

    classes = CLASSES
    phases, imitate = Toy.phases, Toy.imitate


@pytest.mark.parametrize("model", [Plain(), Counted()])
def test_a_model_that_is_not_conditional_has_no_rows_of_classes(model: Model) -> None:
    names = [kind.name for kind in choose_kinds(model)]
    assert "fakes" in names
    assert "classes" not in names


LEFT, RIGHT = CELL + 1 + 4, CELL + 1 + 4 + 10 * CELL + 1 + 4  # where lines and the originals at their ends begin


def lines_of(pairs: tuple[tuple[int, int], ...], dataset: Dataset) -> NDArray[np.uint8]:
    return drawn("interpolation", dataset, (len(pairs) * CELL + 1, RIGHT + CELL + 1), pairs=pairs)


PAIR_CASES = [((0, 1),), ((7, 3), (59, 0))]


@pytest.mark.parametrize("pairs", PAIR_CASES)
def test_a_line_goes_from_one_reconstruction_to_the_other(
    pairs: tuple[tuple[int, int], ...], dataset: Dataset, images: NDArray[np.uint8]
) -> None:
    picture = lines_of(pairs, dataset)
    for row, (first, second) in enumerate(pairs):
        assert np.array_equal(cell(picture, row, 0), images[first])
        assert np.array_equal(cell(picture, row, 0, RIGHT), images[second])
        assert np.array_equal(cell(picture, row, 0, LEFT), 255 - images[first])
        assert np.array_equal(cell(picture, row, 9, LEFT), 255 - images[second])
        third = (255 - images[first]) * (2 / 3) + (255 - images[second]) * (1 / 3)
        assert np.abs(cell(picture, row, 3, LEFT) - third).max() <= 1  # rounding


def test_lines_go_by_default_between_images_of_a_mixture(dataset: Dataset, images: NDArray[np.uint8]) -> None:
    """A split sorted by class would join images of one class."""
    picture = drawn("interpolation", dataset, (5 * CELL + 1, RIGHT + CELL + 1))
    order = mixture(60).tolist()
    for row in range(5):
        assert np.array_equal(cell(picture, row, 0), images[order[2 * row]])
        assert np.array_equal(cell(picture, row, 0, RIGHT), images[order[2 * row + 1]])


@pytest.mark.parametrize("pairs", PAIR_CASES)
def test_the_animation_shows_the_same_line(pairs: tuple[tuple[int, int], ...], dataset: Dataset) -> None:
    (kind,) = choose_kinds(Toy(), ["animation"])
    movie = Image.open(io.BytesIO(paint(kind, Toy(), Scene(dataset, CPU, pairs=pairs))))
    assert (movie.format, kind.suffix, movie.info["loop"]) == ("GIF", "gif", 0)
    shape = (CELL + 1, len(pairs) * CELL + 1)
    frames = [small(frame, shape) for frame in ImageSequence.Iterator(movie)]
    assert len(frames) == 10
    lines = lines_of(pairs, dataset)
    for step, frame in enumerate(frames):
        for number in range(len(pairs)):
            assert np.array_equal(cell(frame, 0, number), cell(lines, number, step, LEFT))


def test_the_manifold_is_a_grid_of_quantiles(dataset: Dataset) -> None:
    picture = drawn("manifold", dataset, (20 * CELL + 1, 20 * CELL + 1))
    expected = [round((number + 0.5) / 20 * 255) for number in range(20)]
    for row in range(20):
        for column in range(20):
            image = cell(picture, row, column).astype(int)
            assert np.abs(image[: SIZE // 2] - expected[column]).max() <= 1
            assert np.abs(image[SIZE // 2 :] - expected[19 - row]).max() <= 1


def test_only_a_plane_has_a_manifold() -> None:
    model = Toy()
    model.latent_size = 3
    assert "manifold" not in [kind.name for kind in choose_kinds(model)]


def test_use_is_what_numpy_counts(dataset: Dataset, images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "PASS", 7)
    counts = kinds.use(Toy(), Scene(dataset, CPU)).numpy()
    assert np.array_equal(counts, np.bincount(images.reshape(60, -1)[:, :4].flatten() % 5, minlength=6))


@pytest.mark.parametrize("name", ["code-map", "code-use"])
def test_plots_are_png_files_and_the_same_every_time(name: str, dataset: Dataset) -> None:
    (kind,) = choose_kinds(Toy(), [name])
    files = [paint(kind, Toy(), Scene(dataset, CPU)) for _ in range(2)]
    assert files[0] == files[1]
    assert Image.open(io.BytesIO(files[0])).format == "PNG"


def test_a_pair_beyond_the_split_is_refused(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="image 60, but test has images 0 to 59"):
        Scene(dataset, CPU, pairs=((0, 60),))


def test_a_small_split_has_the_pairs_that_it_has(dataset: Dataset) -> None:
    few = {split: ({name: column[:5] for name, column in table.items()},) for split, (table,) in dataset.splits.items()}
    scene = Scene(dataclasses.replace(dataset, splits=few), CPU)
    order = mixture(5).tolist()
    assert scene.ends == [(order[0], order[1]), (order[2], order[3])]
    for kind in choose_kinds(Toy()):
        assert paint(kind, Toy(), scene)


def test_training_stores_the_cheap_kinds_only(dataset: Dataset) -> None:
    drawn = dict(grids(Toy(), dataset, CPU))
    assert set(drawn) == {"fakes", "reconstructions"}
    scene = Scene(dataset, CPU)
    assert drawn == {kind.name: paint(kind, Toy(), scene) for kind in choose_kinds(Toy(), list(drawn))}


def test_what_was_drawn_before_a_picture_that_fails_is_there(dataset: Dataset) -> None:
    class Fails(Toy):
        def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
            raise RuntimeError("no decoder")

    drawn = grids(Fails(), dataset, CPU)
    assert next(drawn)[0] == "fakes"
    with pytest.raises(RuntimeError, match="no decoder"):
        next(drawn)


@pytest.mark.parametrize("entry", ZOO)
def test_every_kind_that_an_entry_allows_is_drawn(entry: str, fitting: Callable[[str], Dataset]) -> None:
    dataset = fitting(entry)
    model = build_model(override(tiny(ZOO[entry]), {"seed": 3}), dataset, CPU).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scene = Scene(dataset, CPU)
    for kind in choose_kinds(model):
        data = paint(kind, model, scene)
        assert data == paint(kind, model, scene), kind.name
        assert Image.open(io.BytesIO(data)).format == kind.suffix.upper()
        if kind.name == "interpolation":  # with originals at the ends of whatever encodes
            side, picture = dataset.shape.size + 1, Image.open(io.BytesIO(data))
            width = 10 * side + 1 + 2 * (side + 1 + 4) * has(model, Encodes)
            assert picture.width * (5 * side + 1) == picture.height * width
            assert kind.has_pairs(model) == has(model, Encodes)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_it_is_said_which_classes_have_rows() -> None:
    (kind,) = choose_kinds(Toy(), ["classes"])
    many = Toy()
    many.classes = 200
    assert kind.shows(Toy()) == "a real image, then its class's fakes"
    assert kind.shows(many) == "a real image, then its class's fakes, classes 0 to 19 of 200"


def test_names_are_unique() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
