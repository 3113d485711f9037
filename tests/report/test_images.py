"""Pictures in a page: the same pixels in fewer bytes, and whole rows where the page has no room for all."""

import base64
import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gen.pictures.files import png, tile
from gen.report.images import Album, embed, shrink


def tiles(count: int, channels: int = 1, side: int = 8, columns: int = 8, seed: int = 0) -> torch.Tensor:
    noise = torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed))
    return tile(2 * noise - 1, columns)


def pixels_of(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_stored_grid_is_shrunk_to_its_own_pixels(channels: int) -> None:
    grid = tiles(64, channels)
    found = embed(png(grid, "what it is", written=False), 10**6)
    assert found is not None
    assert (found.width, found.height, found.rows, found.caption) == (grid.shape[2], grid.shape[1], 1.0, "what it is")
    expected = grid.add(1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(
        pixels_of(found.uri).reshape(expected.shape[0], expected.shape[1], -1)[..., :channels], expected
    )


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(0, 9))
def test_shrinking_undoes_any_enlargement(size: int, height: int, width: int, seed: int) -> None:
    small = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    large = np.repeat(np.repeat(small, size, 0), size, 1)
    found = shrink(large)
    scale = len(large) // len(found)
    np.testing.assert_array_equal(np.repeat(np.repeat(found, scale, 0), scale, 1), large)
    assert len(found) <= height  # noise may happen to be an enlargement itself


@pytest.mark.parametrize("most", [10**6, 12_000, 6_000, 2_500])
def test_whole_rows_of_tiles_that_fit(most: int) -> None:
    grid = tiles(64)
    found = embed(png(grid), most)
    assert found is not None
    assert len(found.uri) <= most
    assert (found.height - 1) % 9 == 0, "rows of 8 pixels, and a line"
    whole = embed(png(grid), 10**6)
    assert whole is not None
    np.testing.assert_array_equal(pixels_of(found.uri), pixels_of(whole.uri)[: found.height])
    assert found.rows == found.height / whole.height
    if most < len(whole.uri):
        longer = Image.fromarray(pixels_of(whole.uri)[: found.height + 9])
        assert embed(file_of(longer), 10**6).uri.__len__() > most, "one row more would not have fitted"  # type: ignore[union-attr]


def file_of(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_an_album_counts_what_it_has_no_room_for() -> None:
    one, other = png(tiles(64)), png(tiles(64, seed=1))
    size = len(embed(one, 10**6).uri)  # type: ignore[union-attr]
    album = Album(left=size + 100)
    first = album.take(one)
    assert first is not None
    assert album.take(one) is first, "a second time it costs nothing"
    assert (album.left, album.take(other), album.refused) == (100, None, 1)


@pytest.mark.parametrize(
    "png", [b"", b"\x89PNG" * 50, png(tiles(64))[:-200], b"GIF89a"], ids=["empty", "no", "cut", "gif"]
)
def test_what_is_no_picture_is_counted(png: bytes) -> None:
    album = Album()
    assert album.take(png) is None
    assert (album.unreadable, album.refused) == (1, 0)


def test_a_plot_is_kept_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    found = embed(file_of(Image.fromarray(noise)), 10**6)
    assert found is not None
    np.testing.assert_array_equal(pixels_of(found.uri), noise)
