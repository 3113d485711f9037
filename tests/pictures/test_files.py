"""Pictures as files: no pixel is lost, in grey and in colour."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.utils import make_grid

from gen.data.stream import to_uint8
from gen.pictures import files

SIDES = st.integers(1, 6)


@given(count=st.integers(2, 9), columns=st.integers(1, 9), height=SIDES, width=SIDES)
def test_tiles_lie_as_torchvision_lays_them(count: int, columns: int, height: int, width: int) -> None:
    images = torch.rand(count, 3, height, width) * 2 - 1
    ours = files.tile(images, columns)
    theirs = make_grid(images, columns, padding=1, pad_value=1.0)  # at most as many columns as images
    assert torch.equal(ours[:, :, : theirs.shape[2]], theirs)
    assert (ours[:, :, theirs.shape[2] :] == 1).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 900), (900, 2), (30, 70)])
def test_a_png_holds_the_picture_in_squares(channels: int, height: int, width: int) -> None:
    picture = torch.rand(channels, height, width) * 2 - 1
    image = Image.open(io.BytesIO(files.png(picture)))
    scale = image.width // width
    assert image.size == (width * scale, height * scale)
    assert max(image.size) >= 800
    assert scale == 1 or (scale - 1) * max(height, width) < 800
    array = np.asarray(image).reshape(image.height, image.width, channels)
    assert np.array_equal(array[::scale, ::scale], to_uint8(picture).permute(1, 2, 0).numpy())


def test_a_gif_rests_at_both_ends() -> None:
    pictures = [torch.full((1, 4, 4), shade) for shade in (-1.0, -0.5, 0.5, 1.0)]
    movie = Image.open(io.BytesIO(files.gif(pictures)))
    times = []
    for number, picture in enumerate(pictures):
        movie.seek(number)
        times.append(movie.info["duration"])
        assert (np.asarray(movie.convert("L")) == to_uint8(picture)[0, 0, 0].item()).all()
    assert times == [files.PAUSE, files.FRAME, files.FRAME, files.PAUSE]
    assert movie.n_frames == 4


@pytest.mark.parametrize("channels", [1, 3])
def test_a_caption_stands_above_the_picture_and_tells_equal_frames_apart(channels: int) -> None:
    data = files.png(torch.rand(channels, 20, 30) * 2 - 1)
    whole = Image.open(io.BytesIO(data))
    frames = [files.with_caption(whole, f"epoch {number}") for number in range(5)]
    assert frames[0].mode == whole.mode
    assert frames[0].size == (whole.width, whole.height + files.CAPTION)
    assert np.array_equal(np.asarray(frames[0])[files.CAPTION :], np.asarray(whole))
    lines = [np.asarray(frame)[: files.CAPTION] for frame in frames]
    assert all((line == 255).any() and (line < 128).any() for line in lines)
    movie = Image.open(io.BytesIO(files.animate(frames, 200)))
    assert movie.n_frames == 5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("height", [4, 200])
def test_a_file_carries_its_caption_to_see_and_to_read(channels: int, height: int) -> None:
    picture = torch.rand(channels, height, 40) * 2 - 1
    text = f"fakes of gan_mlp on digits, epoch 3, test images; run 0123456789abcdef of {'long-name' * 20}"
    bare, said = (Image.open(io.BytesIO(files.png(picture, caption))) for caption in ("", text))
    assert said.text == {files.DESCRIPTION: text}
    assert bare.text == {}
    lines = len(files.caption_rows(text, bare.width))
    assert lines > 2
    assert said.size == (bare.width, bare.height + lines * files.CAPTION)
    above, below = np.split(np.asarray(said), [lines * files.CAPTION])
    assert np.array_equal(below, np.asarray(bare))
    for row in np.split(above, lines):
        assert (row < 128).any()
        assert (row[:, -files.MARGIN :] == 255).all(), "nothing is cut off at the right"
    movie = Image.open(io.BytesIO(files.gif([picture, -picture], text)))
    assert movie.info["comment"].decode() == text
    assert movie.size == said.size


def test_the_lines_of_a_caption_have_all_of_its_words() -> None:
    assert files.caption_rows("one two", 800) == ["one two"]
    assert files.caption_rows("one two", 60) == ["one", "two"]
    assert "".join(files.caption_rows("w" * 50, 100)) == "w" * 50
    assert files.caption_rows("ab", 1) == ["a", "b"], "narrower than a letter"
