"""Pictures of games: each kind that a game allows is drawn, and shows what its name says."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gen.data.stream import from_uint8, mixture, to_uint8
from gen.engine.build import build_model
from gen.pictures import Scene, choose_kinds, grids, paint
from tests.fixtures.games import GAMES
from tests.seams.house import CPU, data_of, small

ALLOWED = {
    "conditional_gan": ["fakes", "classes"],
    "denoiser": ["reconstructions"],
}
GAP = 4  # white pixels between two parts of a picture


def pixels(png: bytes, height: int) -> NDArray[np.uint8]:
    """The pixels (H, W, C) of a picture before it was enlarged to whole multiples."""
    image = Image.open(io.BytesIO(png))
    scale = image.height // height
    assert image.height == scale * height
    return np.asarray(image)[::scale, ::scale]


@pytest.mark.parametrize("entry", GAMES)
def test_every_kind_that_a_game_allows_is_drawn_alike_every_time(entry: str) -> None:
    dataset = data_of(entry)
    model = build_model(small(entry), dataset, CPU).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert [kind.name for kind in choose_kinds(model)] == ALLOWED[entry]
    for split in ("validation", "test"):
        for kind in choose_kinds(model):
            data = paint(kind, model, Scene(dataset, CPU, split=split))
            assert data == paint(kind, model, Scene(dataset, CPU, split=split)), kind.name
            assert Image.open(io.BytesIO(data)).format == "PNG"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_translator_s_grid_has_the_sources_over_what_they_became_and_what_came_back() -> None:
    """Of two columns of unlike lengths, side by side; the shorter one repeats."""
    dataset = data_of("cyclegan")
    model = build_model(small("cyclegan"), dataset, CPU).eval()
    png = dict(grids(model, dataset, CPU))["translations"]
    cell = dataset.shape.size + 1
    height, width = 12 * cell + 1, 16 * cell + 1
    picture = pixels(png, height)
    assert picture.shape == (height, 2 * width + GAP, dataset.shape.channels)
    assert (picture[:, width : width + GAP] == 255).all()
    numbers = mixture(dataset.length("test"))[torch.arange(64) % dataset.length("test")]
    for part, (column, source) in enumerate(model.sources.items()):  # type: ignore[attr-defined]
        images = dataset.column("test", source)
        images = images[numbers % len(images)]
        with torch.no_grad():
            made = model.generators[column](from_uint8(images, CPU, torch.float32))  # type: ignore[attr-defined]
            back = to_uint8(model.generators[source](made))  # type: ignore[attr-defined]
        for number in range(64):
            row, place = divmod(number, 16)
            left = part * (width + GAP) + 1 + place * cell
            for below, expected in enumerate((images[number], to_uint8(made[number]), back[number])):
                top = 1 + (3 * row + below) * cell
                shown = picture[top : top + cell - 1, left : left + cell - 1].astype(int)
                assert np.abs(shown - expected.permute(1, 2, 0).numpy().astype(int)).max() <= below  # round-off
