"""Windows and mirror images: each is one of the image, decided by (seed, table, position) alone."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from gen.config import AugmentConfig, DataConfig, RunConfig, identity, override
from gen.data.augment import Augmenter, choose, window
from gen.data.dataset import open_dataset
from gen.data.stream import Stream
from gen.zoo import ZOO
from tests.fixtures import tables

CPU = torch.device("cpu")
PAPER = AugmentConfig(flip=True, margin=30 / 256)  # of 20 pixels: 22
CONFIGS = (AugmentConfig(flip=True), AugmentConfig(margin=30 / 256), PAPER)
SIDE = 20


def stream(augment: AugmentConfig | None, size: int, seed: int = 3, dtype: torch.dtype = torch.float32) -> Stream:
    """Two tables of images, of 96 and 57 rows."""
    return Stream(tables.unpaired(SIDE, 3).splits["train"], seed, size, CPU, dtype, augment=augment)


def windows(image: Tensor, large: int) -> Tensor:
    """All windows (W, C, S, S) of an image (C, S, S) that PyTorch enlarges, then all of them mirrored."""
    big = F.interpolate(image[None], (large, large), mode="bilinear", align_corners=False)[0]
    side, places = image.shape[-1], range(large - image.shape[-1] + 1)
    found = [big[:, down : down + side, right : right + side] for down in places for right in places]
    return torch.stack([*found, *(one.flip(2) for one in found)])


@given(st.integers(1, 9), st.integers(0, 18), st.data())
def test_a_window_is_one_of_the_enlarged_image(side: int, more: int, data: st.DataObject) -> None:
    large = side + more
    down, right = (data.draw(st.integers(0, large - side)) for _ in range(2))
    mirrored = data.draw(st.booleans())
    image = torch.rand(1, 2, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(side))
    found = window(image, large, torch.tensor([down]), torch.tensor([right]), torch.tensor([mirrored]))
    big = F.interpolate(image, (large, large), mode="bilinear", align_corners=False)
    expected = big[:, :, down : down + side, right : right + side]
    torch.testing.assert_close(found, expected.flip(3) if mirrored else expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("config", CONFIGS)
def test_each_image_of_a_draw_is_one_of_its_windows(config: AugmentConfig) -> None:
    plain, changed = (stream(one, 12, dtype=torch.float64).rows(5, 0, 12) for one in (None, config))
    seen = set()
    for column, images in plain.items():
        for image, made in zip(images, changed[column], strict=True):
            errors = (windows(image, SIDE + round(SIDE * config.margin)) - made).abs().amax((1, 2, 3))
            assert errors.min() < 1e-12
            seen.add(int(errors.argmin()))
    assert len(seen) == 2 if config.margin == 0 else len(seen) > 4


def test_a_mirror_image_twice_is_the_image() -> None:
    images = torch.rand(50, 3, 8, 8)
    augmenter = Augmenter(AugmentConfig(flip=True), 0, CPU)
    (once,) = augmenter.change([images], 0, 100)
    (twice,) = augmenter.change([once], 0, 100)
    assert torch.equal(twice, images)
    turned = (once != images).any((1, 2, 3))
    assert 10 < int(turned.sum()) < 40
    assert torch.equal(once[turned], images[turned].flip(3))


def test_an_image_that_is_not_enlarged_is_its_only_window() -> None:
    images, zeros = torch.rand(5, 3, 8, 8), torch.zeros(5, dtype=torch.int64)
    assert torch.equal(window(images, 8, zeros, zeros, zeros.bool()), images)
    assert torch.equal(window(images, 8, zeros, zeros, ~zeros.bool()), images.flip(3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("config", CONFIGS)
@given(st.integers(1, 40), st.integers(0, 30), st.data())
def test_slices_of_a_draw_are_the_draw_bit_for_bit(
    config: AugmentConfig, dtype: torch.dtype, size: int, draw: int, data: st.DataObject
) -> None:
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, size), max_size=4))), size]
    whole, other = stream(config, size, dtype=dtype).rows(draw, 0, size), stream(config, size, dtype=dtype)
    other.rows(data.draw(st.integers(0, 30)), 0, size)  # whatever was drawn before
    parts = [other.rows(draw, start, stop) for start, stop in itertools.pairwise(cuts) if start < stop]
    for name, column in whole.items():
        assert torch.equal(torch.cat([part[name] for part in parts]), column)


def test_a_row_is_changed_anew_in_each_pass_and_as_its_place_in_the_sequence_says() -> None:
    whole, halves = stream(PAPER, 96), stream(PAPER, 48)
    assert torch.equal(whole.rows(1, 0, 48)["a"], halves.rows(2, 0, 48)["a"]), "not as its draw says"
    chosen = {choose(3, 0, place, 1, 9).tobytes() for place in range(200)}
    assert len(chosen) > 100


def test_seeds_and_tables_differ() -> None:
    keys = ((0, 0), (1, 0), (0, 1), (1, 1), (2**64 - 1, 0))
    assert len({choose(*key, 0, 50, 9).tobytes() for key in keys}) == len(keys)


def test_all_windows_are_equally_likely() -> None:
    """Chi-square of 50 counts of some 400 has a standard deviation of 10 around 49."""
    down, right, turned = choose(0, 0, 0, 20_000, 4)
    counts = torch.bincount(torch.from_numpy((down * 5 + right) * 2 + turned), minlength=50).double()
    assert len(counts) == 50
    assert 19 < ((counts - 400) ** 2 / 400).sum() < 99


def test_the_choice_is_that_of_all_machines() -> None:
    """The numbers themselves: a run resumed elsewhere, or under a later numpy, must see the same windows."""
    assert choose(5, 1, 2**40, 4, 30).tolist() == [[11, 2, 7, 3], [24, 22, 28, 8], [0, 1, 1, 1]]


def test_what_is_no_image_stays() -> None:
    images = tables.labelled(SIDE).splits["train"][0]
    parts = ({**images, "codes": torch.arange(96 * 4).view(96, 2, 2)}, {"unlabelled": images["image"]})
    plain, changed = (Stream(parts, 0, 30, CPU, torch.float32, augment=one).rows(2, 0, 30) for one in (None, PAPER))
    assert {name for name in plain if torch.equal(plain[name], changed[name])} == {"label", "codes"}


def test_without_changes_the_stream_is_the_one_that_it_was() -> None:
    plain, default = (stream(one, 20).rows(4, 3, 20) for one in (None, AugmentConfig()))
    assert all(torch.equal(plain[name], default[name]) for name in plain)
    assert stream(AugmentConfig(), 20).augmenter is None


def test_it_is_part_of_a_run_and_not_of_its_data(tmp_path: Path) -> None:
    plain, changed = DataConfig("digits"), DataConfig("digits", augment=PAPER)
    one, other = (open_dataset(config, cache=str(tmp_path)) for config in (plain, changed))
    assert one.hash == other.hash
    assert one.manifest == other.manifest, "one cache for both"
    config = ZOO["gan_mlp"]
    names = {identity(dataclasses.replace(config, data=data), one.hash) for data in (plain, changed)}
    assert len(names) == 2
    assert identity(augmented(config, {}), "data") == identity(config, "data")


def augmented(config: RunConfig, settings: dict[str, object]) -> RunConfig:
    return override(config, {"data.augment.flip": False, "data.augment.margin": 0.0, **settings})


@pytest.mark.parametrize("wrong", [-0.1, 3.5])
def test_a_factor_out_of_range_is_refused(wrong: float) -> None:
    message = rf"^data.augment.margin={wrong:g} is out of range; allowed: from 0 to 3$"
    with pytest.raises(ValueError, match=message):
        augmented(ZOO["gan_mlp"], {"data.augment.margin": wrong})
