"""Sets named by their place: layouts, splits, object storage, and when they are prepared again."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import fs

from gen.config import DataConfig
from gen.data.archives import AwayError
from gen.data.dataset import open_dataset, slug
from gen.data.parts import Part, make
from gen.data.places import reader
from tests.conftest import object_store
from tests.fixtures.pictures import encoded, files, noise, write

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def counts(
    place: Path | str, cache: Path, kind: str = "images", **settings: object
) -> tuple[dict[str, list[int]], list[str]]:
    dataset = open_dataset(DataConfig(f"{kind}:{place}", **settings), cache=str(cache))  # type: ignore[arg-type]
    assert {
        split: [len(next(iter(table.values()))) for table in tables] for split, tables in dataset.splits.items()
    } == (dataset.manifest["counts"])
    return dataset.manifest["counts"], dataset.manifest["classes"]


@pytest.mark.parametrize("name", ["set", "set.zip"])
def test_layouts(name: str, tmp_path: Path) -> None:
    flat, wrapped = files(20), files(20, "images/")
    classes = {**files(12, "cats/"), **files(8, "dogs/more/")}
    split = {**files(10, "x/train/a/"), **files(10, "x/train/b/"), **files(4, "x/test/a/")}
    three = {**files(9, "training/"), **files(3, "valid/"), **files(4, "testing/")}
    seeded = {"train": [16], "validation": [2], "test": [2]}
    expected = [
        (flat, seeded, []),
        (wrapped, seeded, []),
        (classes, seeded, ["cats", "dogs"]),
        (split, {"train": [18], "validation": [2], "test": [4]}, ["a", "b"]),
        (three, {"train": [9], "validation": [3], "test": [4]}, []),
    ]
    for number, (held, found, names) in enumerate(expected):
        (tmp_path / str(number)).mkdir()
        assert counts(write(tmp_path / str(number) / name, held), tmp_path / "cache") == (found, names)


@pytest.mark.parametrize(
    ("held", "fault"),
    [
        ({**files(9, "train/"), **files(3, "extra/")}, "has the folder extra/ beside its splits"),
        ({**files(9, "train/"), **files(1)}, "has the image '000.png' beside its splits"),
        ({**files(9, "test/"), **files(3, "val/")}, "has test/, val/ but no train/"),
        ({**files(9, "cats/"), **files(1)}, "has both images without a class ('000.png') and class folders (cats/)"),
        (files(1), "is damaged or too small"),
        (files(2), "train has no images"),
    ],
)
def test_layouts_that_leave_doubt_are_refused(held: dict[str, bytes], fault: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        counts(write(tmp_path / "set", held), tmp_path / "cache")
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unpaired_domains_are_two_tables(tmp_path: Path) -> None:
    held = {
        **files(20, "horse2zebra/trainA/"),
        **files(30, "horse2zebra/trainB/", mode="L"),
        **files(4, "horse2zebra/testA/"),
    }
    held |= files(5, "horse2zebra/testB/")
    place = write(tmp_path / "set.zip", held)
    assert counts(place, tmp_path / "cache", "unpaired") == (
        {"train": [18, 27], "validation": [2, 3], "test": [4, 5]},
        [],
    )
    dataset = open_dataset(DataConfig(f"unpaired:{place}"), cache=str(tmp_path / "cache"))
    assert [list(table) for table in dataset.splits["train"]] == [["a"], ["b"]]
    assert dataset.shape.channels == 3, "one channel count for both"
    assert dataset.manifest["coloured"] == {"b": 30}, "those of all splits"
    b = torch.cat([table["b"] for tables in dataset.splits.values() for table in tables if "b" in table])
    grey = (b == b[:, :1]).all(dim=(1, 2, 3))
    assert grey.tolist() == [True] * 30 + [False] * 5, "in test/B all are in colour"
    alone = write(tmp_path / "alone", {**files(9, "trainA/"), **files(9, "trainB/"), **files(2, "testA/")})
    with pytest.raises(ValueError, match=r"alone has testA alone; bring its other domain too"):
        counts(alone, tmp_path / "cache", "unpaired")
    with pytest.raises(ValueError, match=r"has no trainA and no trainB; unpaired sets are"):
        counts(write(tmp_path / "other", files(5)), tmp_path / "cache", "unpaired")


def test_a_domain_is_grey_where_all_its_images_were(tmp_path: Path) -> None:
    held = {
        **files(9, "trainA/", mode="L"),
        **files(9, "trainB/"),
        **files(3, "testA/", mode="L"),
        **files(2, "testB/"),
    }
    place = write(tmp_path / "set", {**held, "testB/grey.png": encoded(noise(1, mode="L"))})
    dataset = open_dataset(DataConfig(f"unpaired:{place}"), cache=str(tmp_path / "cache"))
    assert dataset.manifest["coloured"] == {"a": 12, "b": 1}
    assert dataset.grey_columns == ["a"]
    grey = write(tmp_path / "grey", {name: encoded(noise(number, mode="L")) for number, name in enumerate(held)})
    dataset = open_dataset(DataConfig(f"unpaired:{grey}"), cache=str(tmp_path / "cache"))
    assert (dataset.shape.channels, dataset.manifest["coloured"], dataset.grey_columns) == (1, {}, [])


def test_the_hash_knows_contents_and_not_places(tmp_path: Path) -> None:
    def found(place: Path, **settings: object) -> str:
        return open_dataset(DataConfig(f"images:{place}", **settings), cache=str(tmp_path / "cache")).hash  # type: ignore[arg-type]

    one = found(write(tmp_path / "set", files(20)))
    assert found(write(tmp_path / "moved.zip", files(20))) == one
    assert found(tmp_path / "set", skip_bad=True) == one
    assert len({one, found(tmp_path / "set", size=4), found(tmp_path / "set", size=4, filter="lanczos")}) == 3


def test_a_folder_is_prepared_again_when_files_come_or_go_and_serves_when_it_is_away(tmp_path: Path) -> None:
    place = write(tmp_path / "set", files(20, "a/"))
    assert counts(place, tmp_path / "cache")[0]["train"] == [16]
    (place / "a" / "new.png").write_bytes(encoded(noise(99)))
    os.utime(place / "a", ns=(1, 1))  # another date, whatever the clock's step
    assert counts(place, tmp_path / "cache")[0]["train"] == [17]
    place.rename(tmp_path / "away")
    assert counts(place, tmp_path / "cache")[0]["train"] == [17]


def test_parts_do_not_depend_on_who_makes_them_and_the_order_is_that_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many parts, made backwards."""
    config = DataConfig(f"images:{write(tmp_path / 'set', files(50))}", size=12)
    whole = open_dataset(config, cache=str(tmp_path / "other"))
    monkeypatch.setattr("gen.data.parts.BYTES", 0)  # as few images in a part as are allowed
    made: list[Part] = []

    def backwards(parts):  # type: ignore[no-untyped-def]
        for part in reversed(parts):
            made.append(part)
            yield make(part)

    dataset = open_dataset(config, cache=str(tmp_path / "cache"), runner=backwards)
    assert [len(part.names) for part in made] == [5, 5, 8, 16, 16]
    assert dataset.hash == whole.hash
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")], "the parts are gone"


def test_resizing_is_antialiased_and_follows_the_filter(tmp_path: Path) -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)  # without antialiasing: black, white or a moire
    place = write(tmp_path / "set", {f"{number}.png": encoded(Image.fromarray(board)) for number in range(4)})
    for kind in ("bilinear", "bicubic", "lanczos", "box"):
        dataset = open_dataset(DataConfig(f"images:{place}", size=16, filter=kind), cache=str(tmp_path / "cache"))  # type: ignore[arg-type]
        assert dataset.manifest["settings"]["filter"] == kind
        assert dataset.splits["train"][0]["image"].sub(127).abs().max() <= 2


def test_labels_are_few_balanced_seeded_and_the_rest_is_unlabelled(tmp_path: Path) -> None:
    base = open_dataset(DataConfig("digits"), cache=str(tmp_path))
    few = open_dataset(DataConfig("digits", labels=103), cache=str(tmp_path))
    assert few.columns == {"image", "label", "unlabelled"}
    labelled, rest = few.splits["train"]
    assert sorted(labelled["label"].bincount().tolist()) == [10] * 7 + [11] * 3
    pairs = {
        image.numpy().tobytes(): int(label) for image, label in zip(*base.splits["train"][0].values(), strict=True)
    }
    assert all(pairs[image.numpy().tobytes()] == label for image, label in zip(*labelled.values(), strict=True))
    everything = torch.cat([labelled["image"], rest["unlabelled"]])
    assert sorted(map(bytes, everything.flatten(1).numpy())) == sorted(
        map(bytes, base.splits["train"][0]["image"].flatten(1).numpy())
    )
    for split in ("validation", "test"):
        whole, again = few.splits[split]
        assert torch.equal(whole["label"], base.splits[split][0]["label"])
        assert torch.equal(whole["image"], base.splits[split][0]["image"])
        assert torch.equal(whole["image"], again["unlabelled"])
    other = open_dataset(DataConfig("digits", labels=103, label_seed=1), cache=str(tmp_path))
    assert len({base.hash, few.hash, other.hash}) == 3
    assert open_dataset(DataConfig("digits", labels=103), cache=str(tmp_path / "new")).hash == few.hash


@pytest.mark.parametrize(("labels", "fault"), [(9, "10 to 1291"), (1292, "10 to 1291"), (1290, "which has")])
def test_labels_that_do_not_fit(labels: int, fault: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^labels={labels} [^\n]*{fault}"):
        open_dataset(DataConfig("digits", labels=labels), cache=str(tmp_path))
    place = write(tmp_path / "set", files(20))
    with pytest.raises(ValueError, match=r"^labels=10 needs a data set with labels; images:\S+ has none$"):
        open_dataset(DataConfig(f"images:{place}", labels=10), cache=str(tmp_path))


def upload(local: Path, filesystem: fs.FileSystem, path: str) -> None:
    if local.is_file():
        with filesystem.open_output_stream(path) as stream:
            stream.write(local.read_bytes())
    else:
        fs.copy_files(str(local), path, source_filesystem=fs.LocalFileSystem(), destination_filesystem=filesystem)


@pytest.mark.parametrize("name", ["set", "set.zip"])
def test_a_place_on_object_storage(name: str, s3: str, tmp_path: Path) -> None:
    held = {**files(12, "train/a/"), **files(12, "train/ö/"), **files(4, "test/a/")}
    local = write(tmp_path / name, held)
    query = f"?endpoint_override={s3}&scheme=http"
    filesystem, path = fs.FileSystem.from_uri(f"s3://key:secret@bucket/{tmp_path.name}/{name}{query}")
    upload(local, filesystem, path)
    place = f"s3://key:secret@bucket/{tmp_path.name}/{name}{query}"
    parts = f"s3://key:secret@bucket/{tmp_path.name}/parts{query}"
    config = DataConfig(f"images:{place}")
    dataset = open_dataset(config, cache=str(tmp_path / "cache"), parts=parts)
    assert dataset.hash == open_dataset(DataConfig(f"images:{local}"), cache=str(tmp_path / "cache")).hash
    assert dataset.name == f"images:s3://bucket/{tmp_path.name}/{name}", "without secrets"
    assert "secret" not in (next((tmp_path / "cache").glob("set-*/manifest.json"))).read_text()

    def nothing(parts):  # type: ignore[no-untyped-def]
        raise AssertionError("the parts are on the shelf")
        yield

    assert open_dataset(config, cache=str(tmp_path / "other"), parts=parts, runner=nothing).hash == dataset.hash
    with pytest.raises(ValueError, match=r"absent does not exist; name a folder"):
        open_dataset(DataConfig(f"images:s3://key:secret@bucket/absent{query}"), cache=str(tmp_path / "cache"))


@pytest.mark.parametrize(("name", "count"), [("set", 20), ("set.tar", 200)], ids=["folder", "tar"])
def test_an_object_store_that_goes_away_leaves_no_image_out(name: str, count: int, tmp_path: Path) -> None:
    local = write(tmp_path / name, files(count, size=(96, 96)))  # of an archive more than is read ahead
    with object_store() as (address, server):
        query = f"?endpoint_override={address}&scheme=http"
        filesystem, path = fs.FileSystem.from_uri(f"s3://key:secret@bucket/{name}{query}")
        upload(local, filesystem, path)

        place = f"s3://key:secret@bucket/{name}{query}"
        read = reader(place)

        def lose(parts: Sequence[Part]) -> Iterator[int]:
            server.kill()
            server.wait()
            yield from map(make, parts)

        config = DataConfig(f"images:{place}", skip_bad=True)
        with pytest.raises(ValueError, match=r"^s3://bucket/set[^\n]* cannot be read"):
            open_dataset(config, cache=str(tmp_path / "cache"), runner=lose)
        with pytest.raises(AwayError, match=r"^s3://bucket/set[^\n]* cannot be read now [^\n]* no image was left out"):
            [read(f"{number:03d}.png") for number in range(count)]  # the first of an archive have been read ahead
    assert not [*(tmp_path / "cache").glob("*/manifest.json")]


def test_names_of_experiments_and_caches() -> None:
    assert slug("images:/there/cifar10-jpeg.zip") == "cifar10-jpeg"
    assert slug("images:s3://key:secret@bucket/My photos/?region=x") == "My-photos"
    assert slug("unpaired:/") == "unpaired"
    assert slug("mnist") == "mnist"


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the repository")
def test_a_real_archive(tmp_path: Path) -> None:
    found, names = counts(SHARED / "abstract-art.zip", tmp_path / "cache", size=32)
    assert (found, names) == ({"train": [748], "validation": [93], "test": [93]}, [])
