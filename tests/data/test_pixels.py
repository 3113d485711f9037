"""What becomes of the pixels of files: of more than 8 bits, transparent, of several pictures, not square."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from gen.config import DataConfig, override
from gen.data.dataset import Dataset, open_dataset
from gen.data.decode import MOST_PIXELS, DamagedError, Look, decode, examine
from gen.data.notices import notices
from tests.fixtures.pictures import encoded, files, noise, write

RAMP = np.arange(64).reshape(8, 8)
CLEAR = (0, 0, 255, 0)  # blue that nobody sees


def opened(place: Path, tmp_path: Path, **settings: Any) -> Dataset:
    return open_dataset(DataConfig(f"images:{place}", **settings), cache=str(tmp_path / "cache"))


def copies(picture: bytes, count: int = 5, suffix: str = "png") -> dict[str, bytes]:
    return {f"{number}.{suffix}": picture for number in range(count)}


def first(dataset: Dataset) -> NDArray[np.uint8]:
    return dataset.splits["train"][0]["image"][0].numpy()


def wide_png(colour: int, values: NDArray[Any]) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write: `colour` is the format's number for the channels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("values", "kind", "white"),
    [
        ((RAMP * 4).astype(np.int32), "TIFF", 255),
        ((RAMP * 4 / 255).astype(np.float32), "TIFF", 1),
        ((RAMP * 4).astype(np.float32), "TIFF", 255),
        ((RAMP * 64).astype(np.uint16), "PNG", 4095),
        ((RAMP * 1024).astype(np.uint16), "TIFF", 65535),
    ],
)
def test_deep_pixels_are_scaled_by_the_set_and_it_is_told(
    values: NDArray[Any], kind: str, white: int, tmp_path: Path
) -> None:
    held = copies(encoded(Image.fromarray(values), kind), suffix=kind.lower())
    dataset = opened(write(tmp_path / "set", held), tmp_path)
    np.testing.assert_array_equal(first(dataset)[0], np.rint(values / np.float64(white) * 255))
    assert dataset.manifest["pixels"] == {"deep": 5, "white": white}
    assert notices(dataset) == [f"deep: 5 images of more than 8 bits were scaled so that {white} is white (data.white)"]


def test_all_images_of_a_set_have_one_white(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dark image among bright ones stays dark, in whatever part it is."""
    monkeypatch.setattr("gen.data.parts.MOST", 16)
    dark, bright = (encoded(Image.fromarray((RAMP * factor).astype(np.uint16))) for factor in (2, 64))
    held = {f"{number:02}.png": dark for number in range(40)} | {"99.png": bright}
    place = write(
        tmp_path / "set", {f"{split}/{name}": data for split in ("train", "val") for name, data in held.items()}
    )
    dataset = opened(place, tmp_path)
    assert dataset.manifest["pixels"]["white"] == 4095
    np.testing.assert_array_equal(first(dataset)[0], np.rint(RAMP * 2 / 4095 * 255))
    stated = opened(place, tmp_path, white=65535.0)
    np.testing.assert_array_equal(first(stated)[0], np.rint(RAMP * 2 / 257))
    with pytest.raises(ValueError, match=r"99\.png': its values go up to 4032, above data\.white=1000; "):
        opened(place, tmp_path, white=1000.0)
    assert len({dataset.hash, stated.hash}) == 2


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ((RAMP - 5).astype(np.int32), "its values go down to -5"),
        (np.full((8, 8), np.nan, np.float32), "no finite numbers"),
    ],
)
def test_deep_pixels_of_no_meaning_are_damaged(values: NDArray[Any], fault: str) -> None:
    with pytest.raises(DamagedError, match=fault):
        decode(encoded(Image.fromarray(values), "TIFF"))


def test_a_tiff_whose_least_value_is_white() -> None:
    data = io.BytesIO()
    Image.fromarray((RAMP * 1024).astype(np.uint16)).save(data, "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(np.asarray(decode(data.getvalue())), 255 - np.rint(RAMP * 1024 / 257))


def test_a_format_that_says_its_largest_value_is_believed() -> None:
    data = b"P5\n2 1\n4095\n" + np.array([0, 2048], ">u2").tobytes()
    assert np.asarray(decode(data)).tolist() == [[0, 128]]


def test_16_bits_a_colour_are_read_by_the_upper_8_or_refused(tmp_path: Path) -> None:
    colour = np.stack([RAMP * 1024] * 3, axis=2)
    dataset = opened(write(tmp_path / "set", copies(wide_png(2, colour))), tmp_path)
    np.testing.assert_array_equal(first(dataset), (colour // 256).transpose(2, 0, 1))
    assert notices(dataset) == ["wide: 5 images of 16 bits a colour were read by their upper 8 bits"]
    with pytest.raises(ValueError, match=r"^5 images of \S+dark have 16 bits a colour, and no value above 4095; .+$"):
        opened(write(tmp_path / "dark", copies(wide_png(2, colour // 16))), tmp_path)
    grey = examine(wide_png(4, np.stack([RAMP * 1024, np.full((8, 8), 65535)], axis=2)), Look())
    assert (grey.image.mode, grey.transparent) == ("L", False)


def clear_files() -> dict[str, bytes]:
    """Pictures whose left half is transparent, with a colour hidden there, each in another mode."""
    colour = Image.new("RGBA", (8, 8), (10, 20, 30, 255))
    colour.paste(CLEAR, (0, 0, 4, 8))
    grey = Image.fromarray(np.stack([np.full((8, 8), 90), np.asarray(colour)[..., 3]], 2).astype(np.uint8), "LA")
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 255, 10, 20, 30])
    palette.paste(0, (0, 0, 4, 8))
    plain, single = Image.new("RGB", (8, 8), (10, 20, 30)), Image.new("L", (8, 8), 90)
    plain.paste(CLEAR[:3], (0, 0, 4, 8))
    single.paste(7, (0, 0, 4, 8))

    deep = np.tile([7000, 0], (8, 8, 1))
    deep[:, 4:] = (90 * 257, 65535)

    def save(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
        data = io.BytesIO()
        image.save(data, kind, **settings)
        return data.getvalue()

    return {
        "colour.png": save(colour),
        "colour.webp": save(colour, "WEBP", lossless=True),
        "grey.png": save(grey),
        "palette.png": save(palette, transparency=0),
        "palette.gif": save(palette, "GIF", transparency=0),
        "plain.png": save(plain, transparency=CLEAR[:3]),
        "single.png": save(single, transparency=7),
        "deep.png": wide_png(4, deep),
    }


@pytest.mark.parametrize("name", clear_files())
@pytest.mark.parametrize(("background", "shade"), [("white", 255), ("black", 0)])
def test_what_is_transparent_shows_the_background(name: str, background: str, shade: int) -> None:
    found = examine(clear_files()[name], Look(background=background))
    left, right = np.asarray(found.image)[:, :4], np.asarray(found.image)[:, 4:]
    assert found.transparent
    assert (left == shade).all()
    assert (right == ([90] if found.image.mode == "L" else [10, 20, 30])).all()
    assert (found.image.mode == "L") == name.startswith(("grey", "single", "deep"))


def test_transparent_images_are_counted_and_the_background_is_a_setting(tmp_path: Path) -> None:
    opaque = encoded(noise(3).convert("RGBA"))
    place = write(tmp_path / "set", {**files(12), **clear_files(), "opaque.png": opaque})
    white, grey = opened(place, tmp_path), opened(place, tmp_path, background="grey")
    assert white.hash != grey.hash
    assert white.manifest["pixels"]["transparent"] == 8
    line = "transparent: 8 images had transparent pixels, which became grey (data.background)"
    assert line in notices(grey)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_pictures_the_first_is_taken_and_counted(kind: str, tmp_path: Path) -> None:
    one, other, data = Image.new("L", (8, 8), 80), Image.new("L", (8, 8), 200), io.BytesIO()
    one.save(data, kind, save_all=True, append_images=[other])
    assert abs(int(np.asarray(decode(data.getvalue())).max()) - 80) <= 1
    dataset = opened(write(tmp_path / "set", {**files(9), f"moves.{kind.lower()}": data.getvalue()}), tmp_path)
    assert dataset.manifest["pixels"] == {"several": 1}
    assert "several: 1 files hold several pictures" in notices(dataset)[0]


def test_long_texts_and_profiles_are_no_damage() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", "x" * 2_000_000, zip=True)
    texts.add_itxt("workflow", "y" * 2_000_000, zip=True)
    picture, data = noise(0), io.BytesIO()
    picture.save(data, "PNG", pnginfo=texts, icc_profile=bytes(2_000_000))
    np.testing.assert_array_equal(np.asarray(decode(data.getvalue())), np.asarray(picture))


def test_an_image_above_the_limit_of_pixels_names_it(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(DamagedError, match=f"^it has more than {MOST_PIXELS:,} pixels"):
        decode(b"P5\n20000 20000\n255\n")
    with pytest.raises(DamagedError, match="truncated"):  # of more than half as many: no warning
        decode(b"P5\n10000 10000\n255\n")
    assert not recwarn


@pytest.mark.parametrize(
    ("fit", "rows"),
    [
        ("crop", [[100] * 4] * 4),
        ("pad", [[255] * 4, [0, 100, 100, 200], [0, 100, 100, 200], [255] * 4]),
        ("stretch", [[0, 100, 100, 200]] * 4),
    ],
)
def test_images_that_are_not_square(fit: str, rows: list[list[int]], tmp_path: Path) -> None:
    wide = np.repeat(np.array([[0, 100, 100, 200]], np.uint8), 2, axis=1).repeat(4, axis=0)
    place = write(tmp_path / "set", {**copies(encoded(Image.fromarray(wide))), "tall.png": encoded(noise(0, (4, 9)))})
    dataset = opened(place, tmp_path, size=4, filter="box", fit=fit)
    images = [image[0].tolist() for tables in dataset.splits.values() for image in tables[0]["image"]]
    assert rows in images
    assert dataset.shape.size == 4


def test_how_images_become_square_is_part_of_what_they_are(tmp_path: Path) -> None:
    place = write(tmp_path / "set", {f"{number}.png": encoded(noise(number, (12, 8))) for number in range(5)})
    assert len({opened(place, tmp_path, size=4, fit=fit).hash for fit in ("crop", "pad", "stretch")}) == 3
    with pytest.raises(ValueError, match=r"is 12x8; give --size, which crops .*data\.fit pads or stretches"):
        opened(place, tmp_path)
    with pytest.raises(ValueError, match=r"^data.fit='bend' is not known; allowed: crop, pad, stretch$"):
        override(DataConfig(), {"fit": "bend"}, "data.")
