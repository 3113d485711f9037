"""What users' folders and archives hold. Each case works, or is one line that says what to do."""

import io
import os
import re
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gen.config import DataConfig
from gen.data import locks
from gen.data.dataset import Dataset, open_dataset
from gen.data.decode import decode
from tests.conftest import wait_for
from tests.fixtures.pictures import encoded, files, noise, write


def opened(place: Path, cache: Path, kind: str = "images", **settings: Any) -> Dataset:
    return open_dataset(DataConfig(f"{kind}:{place}", **settings), cache=str(cache))


def every(dataset: Dataset, column: str = "image") -> list[bytes]:
    """All pixels of all splits, image by image, in one order."""
    tables = [table for tables in dataset.splits.values() for table in tables if column in table]
    return sorted(image.numpy().tobytes() for table in tables for image in table[column])


def refused(place: Path, cache: Path, kind: str = "images", **settings: Any) -> str:
    with pytest.raises(ValueError) as caught:
        opened(place, cache, kind, **settings)
    text = str(caught.value)
    assert "\n" not in text
    assert not [path for path in cache.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return text


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def test_a_truncated_zip_is_refused(tmp_path: Path, cache: Path) -> None:
    place = write(tmp_path / "set.zip", files(12))
    place.write_bytes(place.read_bytes()[:-40])
    assert "set.zip is not a whole zip archive" in refused(place, cache)


def test_a_zip_with_a_damaged_entry_is_refused_or_goes_without_it(tmp_path: Path, cache: Path) -> None:
    held = files(12)
    place = write(tmp_path / "set.zip", held)
    data = bytearray(place.read_bytes())
    start = data.index(held["005.png"])
    data[start + 60] ^= 0xFF
    place.write_bytes(data)
    assert "1 images of" in (text := refused(place, cache))
    assert "'005.png': Bad CRC-32" in text
    assert len(every(opened(place, cache, skip_bad=True))) == 11


@pytest.mark.parametrize("held", [{}, {"notes.txt": b"nothing here"}, {"._a.png": b"what macOS adds"}])
def test_an_empty_folder_is_refused(held: dict[str, bytes], tmp_path: Path, cache: Path) -> None:
    (tmp_path / "set").mkdir()
    assert "holds no images; their names end in .jpg" in refused(write(tmp_path / "set", held), cache)


def test_a_place_that_is_not_there_is_refused(tmp_path: Path, cache: Path) -> None:
    assert "absent does not exist; name a folder or a zip archive" in refused(tmp_path / "absent", cache)


def test_a_text_file_named_jpg_is_refused_or_left_out(tmp_path: Path, cache: Path) -> None:
    place = write(tmp_path / "set", {**files(12), "note.jpg": b"this is no picture"})
    text = refused(place, cache)
    assert "1 images of" in text
    assert "'note.jpg': cannot identify image file" in text
    assert text.endswith("--skip-bad")
    dataset = opened(place, cache, skip_bad=True)
    assert every(dataset) == every(opened(write(tmp_path / "sound", files(12)), cache))
    (left,) = dataset.manifest["skipped"]
    assert left["image"] == "note.jpg"


def test_ten_damaged_images_are_named_and_the_others_counted(tmp_path: Path, cache: Path) -> None:
    cut = {f"bad-{number:02d}.png": encoded(noise(number))[:50] for number in range(13)}
    text = refused(write(tmp_path / "set", {**files(9), **cut}), cache)
    assert "13 images of" in text
    assert text.count("'bad-") == 10
    assert "and 3 more" in text


def test_what_skip_bad_leaves_out_keeps_labels_in_place(tmp_path: Path, cache: Path) -> None:
    """Each image's pixels tell its class."""
    held = {
        f"{name}/{number}.png": encoded(Image.new("L", (8, 8), 100 * label + number))
        for label, name in enumerate(("one", "two"))
        for number in range(20)
    }
    held |= {"one/7.png": b"", "two/0.png": held["two/0.png"][:45]}
    dataset = opened(write(tmp_path / "set", held), cache, skip_bad=True)
    assert len(every(dataset)) == 38
    for (table,) in dataset.splits.values():
        assert torch.equal(table["image"][:, 0, 0, 0].long() // 100, table["label"])


def test_a_16_bit_png_is_scaled_to_8_bits(tmp_path: Path, cache: Path) -> None:
    values = np.array([[0, 128, 129, 257], [1000, 32768, 65407, 65535]] * 2, np.uint16)
    held = {f"{number}.png": encoded(Image.fromarray(values)) for number in range(6)}
    dataset = opened(write(tmp_path / "set", held), cache)
    assert dataset.shape.channels == 1
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(dataset.splits["train"][0]["image"][0, 0].numpy(), expected)


def test_a_grey_image_among_colour_ones_becomes_three_equal_channels(tmp_path: Path, cache: Path) -> None:
    grey = noise(99, mode="L")
    dataset = opened(write(tmp_path / "set", {**files(10), "grey.png": encoded(grey)}), cache)
    assert dataset.shape.channels == 3
    assert np.stack([np.asarray(grey)] * 3).tobytes() in every(dataset)
    assert opened(write(tmp_path / "all", files(10, mode="L")), cache).shape.channels == 1


def test_a_cmyk_jpeg_becomes_rgb(tmp_path: Path, cache: Path) -> None:
    dataset = opened(
        write(tmp_path / "set", {f"{n}.jpg": encoded(noise(n, mode="CMYK"), "JPEG") for n in range(6)}), cache
    )
    assert dataset.shape.channels == 3


def test_an_image_of_one_pixel_needs_a_size_among_others_and_is_enlarged(tmp_path: Path, cache: Path) -> None:
    one = Image.new("RGB", (1, 1), (10, 20, 30))
    place = write(tmp_path / "set", {**files(10), "one.png": encoded(one)})
    assert "'one.png'" in (text := refused(place, cache))
    assert "is 1x1; give --size" in text
    dataset = opened(place, cache, size=4)
    assert np.broadcast_to(np.array([10, 20, 30], np.uint8)[:, None, None], (3, 4, 4)).tobytes() in every(dataset)


def test_images_that_are_not_square_need_a_size(tmp_path: Path, cache: Path) -> None:
    wide = np.zeros((8, 14, 3), np.uint8)
    wide[:, 3:11] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    place = write(tmp_path / "set", {f"{number}.png": encoded(Image.fromarray(wide)) for number in range(5)})
    assert "is 14x8; give --size" in refused(place, cache)
    image = opened(place, cache, size=8).splits["train"][0]["image"][0]
    np.testing.assert_array_equal(image.numpy(), wide[:, 3:11].transpose(2, 0, 1))  # the centre, as it was


def test_a_class_with_one_image_is_a_class(tmp_path: Path, cache: Path) -> None:
    held = {**files(20, "many/"), "alone/x.png": encoded(noise(77))}
    dataset = opened(write(tmp_path / "set", held), cache)
    assert dataset.shape.classes == 2
    assert dataset.manifest["classes"] == ["alone", "many"]
    assert sum(int((table["label"] == 0).sum()) for (table,) in dataset.splits.values()) == 1


def test_a_loop_of_symbolic_links_ends_and_other_links_are_followed(tmp_path: Path, cache: Path) -> None:
    place = write(tmp_path / "set", {**files(10, "a/"), **files(5, "b/")})
    (place / "a" / "again").symlink_to(place)
    (place / "b" / "self").symlink_to(place / "b")
    (place / "c").symlink_to(write(tmp_path / "elsewhere", files(4)))
    dataset = opened(place, cache)
    assert dataset.manifest["classes"] == ["a", "b", "c"]
    assert len(every(dataset)) == 19


def test_a_link_to_nothing_counts_as_damaged(tmp_path: Path, cache: Path) -> None:
    place = write(tmp_path / "set", files(10))
    (place / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert "'gone.png': it is not there" in refused(place, cache)


def test_names_that_are_not_ascii(tmp_path: Path, cache: Path) -> None:
    held = {**files(8, "Füchse/"), **files(8, "犬/ü — "), "犬/\N{FOX FACE}.PNG": encoded(noise(50))}
    folder, archive = (opened(write(tmp_path / name, held), cache) for name in ("sét", "sét.zip"))
    assert folder.manifest["classes"] == ["Füchse", "犬"]
    assert folder.hash == archive.hash, "contents alone make the hash"
    name = os.fsdecode(b"latin-\xe9.png")  # a name that is no UTF-8
    place = write(tmp_path / "latin", {**files(8), name: b"cut"})
    (cache / "other").mkdir()
    assert "'latin-" in refused(place, cache / "other")
    assert len(every(opened(place, cache, skip_bad=True))) == 8


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/x.png", "..\\x.png"])
def test_an_entry_that_points_outside_is_refused(name: str, tmp_path: Path, cache: Path) -> None:
    place = write(tmp_path / "set.zip", {**files(10), name: encoded(noise(1))})
    assert "points outside of the archive" in refused(place, cache)
    assert not (tmp_path / "x.png").exists()


def test_an_entry_with_other_slashes_is_refused(tmp_path: Path, cache: Path) -> None:
    """Its classes and splits would be lost without a word."""
    place = write(tmp_path / "set.zip", {**files(10), "train\\cat\\1.png": encoded(noise(1))})
    assert "pack it anew, with /" in refused(place, cache)


def test_of_two_entries_of_one_name_the_last_counts_once(tmp_path: Path, cache: Path) -> None:
    place = write(tmp_path / "set.zip", files(12))
    with zipfile.ZipFile(place, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("005.png", encoded(noise(99)))
    expected = opened(write(tmp_path / "set", {**files(12), "005.png": encoded(noise(99))}), cache)
    assert every(opened(place, cache)) == every(expected)


def test_what_could_not_be_read_is_tried_again(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write(tmp_path / "set", files(12))
    with monkeypatch.context() as patch:  # root may read all files, whatever their mode
        whole = Path.read_bytes

        def read(path: Path) -> bytes:
            if path.name == "005.png":
                raise PermissionError
            return whole(path)

        patch.setattr(Path, "read_bytes", read)
        assert "'005.png': it may not be read" in refused(place, cache)
    assert len(every(opened(place, cache))) == 12


def test_an_encrypted_archive_is_refused(tmp_path: Path, cache: Path) -> None:
    place = write(tmp_path / "set.zip", files(3))
    data = bytearray(place.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := data.find(mark, start + 1)) >= 0:
            data[start + offset] |= 1  # the flag of encryption
    place.write_bytes(data)
    assert "encrypted" in refused(place, cache)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/cat/{}.png", "train/dog/{}.png", "test/{}.png"], "images without a class in its test"),
        (["train/cat/{}.png", "train/dog/{}.png", "test/bird/{}.png"], "the class 'bird' in its test"),
        (["train/{}.png", "val/{}.png", "validation/{}.png"], "each once"),
        (["Train/{}.png", "Test/{}.png"], "name its splits train/, val/ and test/"),
    ],
)
def test_a_layout_in_doubt_is_refused(names: list[str], message: str, tmp_path: Path, cache: Path) -> None:
    pictures = list(files(6).values())
    held = {name.format(number): data for name in names for number, data in enumerate(pictures)}
    assert message in refused(write(tmp_path / "set.zip", held), cache)


def test_a_picture_whose_tags_cannot_be_written_again_is_turned(tmp_path: Path, cache: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6  # orientation: to be turned to the right
    tags[0x011A] = (1, 2, 3)  # a resolution that is no number
    wide = noise(0, (16, 8))
    buffer = io.BytesIO()
    wide.save(buffer, "JPEG", exif=tags.tobytes())
    assert decode(buffer.getvalue()).size == (8, 16)


def test_a_folder_whose_name_is_as_long_as_the_file_system_allows(tmp_path: Path, cache: Path) -> None:
    place = write(tmp_path / ("a" * 255), files(20))
    assert every(opened(place, cache)) == every(opened(place, cache))


def test_who_waits_for_another_process_says_so(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "FIRST", 0.1)
    place = write(tmp_path / "set", files(20))
    opened(place, cache)
    (lock,) = cache.glob("*.lock")
    shutil.rmtree(lock.with_suffix(""))  # the set is to be prepared again
    with ThreadPoolExecutor() as pool:
        with locks.alone(lock, "prepares it"):
            waiting = pool.submit(opened, place, cache)
            wait_for(lambda: caplog.messages)
            assert not waiting.done()
        assert len(every(waiting.result())) == 20
    (line,) = caplog.messages
    assert re.fullmatch(rf"waiting for another process that prepares images:{place}, 0 s \(it holds {lock}\)", line)
