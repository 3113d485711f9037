"""Images of any size through a model that translates: mirrored at their edges, and cropped back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from gen.capabilities import Translates
from gen.config import RunConfig
from gen.engine.load import Trained
from gen.engine.translate import mirror, translate_images
from gen.phase import Batch, Shape
from gen.zoo import ZOO
from tests.fixtures.still import Still

SIDES = st.integers(1, 40)


class Marker(Still, Translates):
    """Darkens; it tells which sizes it saw, and takes those that it says only."""

    sources = {"b": "a"}  # noqa: RUF012

    def __init__(self, multiple: int = 1, least: int = 1) -> None:
        super().__init__()
        self.multiple, self.least = multiple, least
        self.seen: list[tuple[int, ...]] = []

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        images = batch["a"]
        self.seen.append(tuple(images.shape))
        assert all(side >= self.least and side % self.multiple == 0 for side in images.shape[2:])
        return {"b": images * 0.5}


class Both(Marker):
    """Into a it translates nothing."""

    sources = {"b": "a", "a": "b"}  # noqa: RUF012

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return {**super().imitate(batch), "a": batch["b"]}


@given(SIDES, SIDES, st.integers(1, 9), st.integers(1, 50))
def test_a_translation_has_the_size_of_its_image(height: int, width: int, multiple: int, least: int) -> None:
    model, images = Marker(multiple, least), torch.rand(2, 3, height, width)
    assert torch.equal(translate_images(model, images, "b"), images * 0.5)
    wanted = [-(-max(side, least) // multiple) * multiple for side in (height, width)]
    assert model.seen == [(2, 3, *wanted)]


@given(st.integers(2, 40), st.integers(1, 8), st.integers(1, 60))
def test_the_edges_are_mirrored_as_pytorch_mirrors_them(side: int, multiple: int, least: int) -> None:
    before, lines = mirror(side, least, multiple)
    after = len(lines) - before - side
    assert 0 <= after - before <= 1, "the image lies in the middle"
    assert lines[before : before + side].tolist() == list(range(side))
    if after < side:
        line = torch.arange(side, dtype=torch.float64)[None]
        assert torch.equal(F.pad(line, (before, after), mode="reflect")[0].long(), lines)
    assert (lines.diff().abs() == 1).all(), "it goes to and fro for as long as it takes"


def test_a_single_line_is_repeated() -> None:
    before, lines = mirror(1, 5, 2)
    assert (before, lines.tolist()) == (2, [0] * 6)


def trained(model: Still, entry: str = "gan_mlp", channels: int = 3) -> Trained:
    config: RunConfig = ZOO[entry]
    return Trained(model.eval(), config, Shape(channels, 8), "run", 1.0, "metric", 0.0)


def test_a_loaded_run_translates_where_its_model_does() -> None:
    images = torch.rand(2, 3, 5, 9) * 2 - 1
    assert torch.equal(trained(Marker(4, 8)).translate(images), images * 0.5)
    assert torch.equal(trained(Both()).translate(images, "b"), images * 0.5)
    assert torch.equal(trained(Both()).translate(images, to="a"), images)


@pytest.mark.parametrize(
    ("model", "images", "to", "message"),
    [
        (Still(), torch.zeros(1, 3, 8, 8), None, "gan_mlp translates nothing; it can do none of these"),
        (Both(), torch.zeros(1, 3, 8, 8), None, "gan_mlp translates to b, a; say which by to"),
        (Both(), torch.zeros(1, 3, 8, 8), "c", "to='c' is nothing that gan_mlp translates to; allowed: b, a"),
        (Marker(), torch.zeros(1, 1, 8, 8), "b", r"images of shape \(1, 1, 8, 8\) do not fit; .* \(N, 3, H, W\)"),
        (Marker(), torch.zeros(3, 8, 8), "b", r"images of shape \(3, 8, 8\) do not fit; .* \(N, 3, H, W\)"),
        (Marker(), torch.zeros(1, 3, 8, 8).byte(), "b", "images are torch.uint8"),
        (Marker(), torch.full((1, 3, 8, 8), 2.0), "b", "images go from 2 to 2"),
        (Marker(), [[1]], "b", "images are a list"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(model: Still, images: Tensor, to: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        trained(model).translate(images, to)
