"""Layouts that people have: each is read, or is one line that says what to do; what is left out is counted."""

import gzip
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from gen.config import DataConfig
from gen.data.dataset import Dataset, open_dataset
from gen.data.notices import notices
from gen.engine.per_process import dataset_of
from tests.fixtures.pictures import encoded, files, noise, write

FOLDED = {f"0000{number % 2}/img{number:08}.png": data for number, data in enumerate(files(12).values())}
NUMBERED = {name: str(number % 3) for number, name in enumerate(FOLDED)}  # classes that are not the folders


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Dataset]:
    def open_place(place: Path | str, kind: str = "images", **settings: Any) -> Dataset:
        return open_dataset(DataConfig(f"{kind}:{place}", **settings), cache=str(tmp_path / "cache"))

    return open_place


def pairs(dataset: Dataset) -> dict[bytes, str]:
    """Pixels of each image -> the name of its class."""
    tables = [table for tables in dataset.splits.values() for table in tables]
    names = dataset.manifest["classes"]
    return {
        image.numpy().tobytes(): names[int(label)]
        for table in tables
        for image, label in zip(table["image"], table["label"], strict=True)
    }


def expected(held: dict[str, bytes], classes: dict[str, str]) -> dict[bytes, str]:
    """As `pairs`, of files made by `files`, by the classes of their names."""
    pixels = [np.asarray(noise(number)).transpose(2, 0, 1).tobytes() for number in range(len(held))]
    return dict(zip(pixels, (classes[name] for name in held), strict=True))


def stylegan(labels: Any) -> dict[str, bytes]:
    return {**FOLDED, "dataset.json": json.dumps({"labels": labels}).encode()}


@pytest.mark.parametrize("name", ["set", "set.zip", "set.tar", "set.tar.gz"])
def test_the_labels_of_dataset_json_are_the_classes(name: str, opened: Callable[..., Dataset], tmp_path: Path) -> None:
    labels = [[image, int(value)] for image, value in NUMBERED.items()]
    dataset = opened(write(tmp_path / name, stylegan(labels)))
    assert dataset.manifest["classes"] == ["0", "1", "2"]
    assert pairs(dataset) == expected(FOLDED, NUMBERED)
    assert notices(dataset) == [
        "classes: 'dataset.json' tells the 3 of them; folders do not",
        "test: no images of 2 of 3 classes; data.stratified=true holds out some of each",
        "validation: no images of 2 of 3 classes; data.stratified=true holds out some of each",
    ]


def test_numbered_folders_beside_dataset_json_are_no_classes(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset = opened(write(tmp_path / "set", stylegan(None)))
    assert (dataset.shape.classes, dataset.columns) == (0, {"image"})
    assert notices(dataset) == ["classes: 'dataset.json' tells that there are none; folders do not"]
    with pytest.raises(ValueError, match=r"'dataset.json' tells no class of 11 of 12 images, such as '0000"):
        opened(write(tmp_path / "part", stylegan([["00000/img00000000.png", 1]])))


def test_a_dataset_json_that_is_cut_is_no_set_without_classes(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    held = stylegan([[image, int(value)] for image, value in NUMBERED.items()])
    held["dataset.json"] = held["dataset.json"][:-9]
    with pytest.raises(ValueError, match=r"^\S+set: 'dataset.json' is no JSON \([^\n]+\); mend it, or move it away$"):
        opened(write(tmp_path / "set", held))


def csv_of(titles: str, row: str, classes: dict[str, str]) -> bytes:
    return "\n".join(
        [titles, *(row.format(name=name, stem=name[:-4], value=value) for name, value in classes.items())]
    ).encode()


FLAT = files(12)
KINDS = {name: ("cat", "dog", "eel")[number % 3] for number, name in enumerate(FLAT)}


@pytest.mark.parametrize(
    ("name", "titles", "row"),
    [
        ("labels.csv", "filename,label", "{name},{value}"),
        ("train.csv", "id,breed", "{stem},{value}"),
        ("labels.csv", "000.png,cat", "{name},{value}"),  # no header: its first row is one more of the same
        ("labels.tsv", "label\timage", "{value}\t{name}"),
        ("metadata.csv", "file_name,text,label", '{name},"a, b",{value}'),
        (
            "metadata.jsonl",
            '{{"file_name": "000.png", "label": "cat"}}',
            '{{"file_name": "{name}", "label": "{value}"}}',
        ),
    ],
)
def test_a_table_beside_the_images_tells_their_classes(
    name: str, titles: str, row: str, opened: Callable[..., Dataset], tmp_path: Path
) -> None:
    dataset = opened(
        write(tmp_path / "set", {**FLAT, name: csv_of(titles.replace("{{", "{").replace("}}", "}"), row, KINDS)})
    )
    assert pairs(dataset) == expected(FLAT, KINDS)
    assert notices(dataset)[0] == f"classes: '{name}' tells the 3 of them; folders do not"


def test_tables_in_each_split_and_names_that_are_not_there(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    """As Hugging Face's folders of images have them."""
    text = csv_of("file_name,label", "{name},{value}", {**KINDS, "gone.png": "cat"})
    held = {f"{split}/{name}": data for split in ("train", "test") for name, data in FLAT.items()}
    place = write(tmp_path / "set.zip", {**held, "train/metadata.csv": text, "test/metadata.csv": text})
    dataset = opened(place)
    assert dataset.manifest["counts"] == {"train": [11], "validation": [1], "test": [12]}
    assert "aside: 2 names that 'test/metadata.csv' has are no images here, such as 'gone.png'" in notices(dataset)


def test_columns_that_are_not_used_are_counted(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    """One of them counts rows, and so has the names of images too, without suffix."""
    held = {f"{number}.png": data for number, data in enumerate(FLAT.values())}
    classes = dict(zip(held, KINDS.values(), strict=True))
    dataset = opened(
        write(tmp_path / "set", {**held, "l.csv": csv_of("id,file,split,label", "{stem},{name},x,{value}", classes)})
    )
    assert pairs(dataset) == expected(held, classes)
    assert "aside: 2 columns of 'l.csv' are not used, such as 'id'" in notices(dataset)
    some = csv_of("file,label", "{name},{value}", {**classes, "3.png": ""})
    with pytest.raises(ValueError, match=r"'l\.csv' tells no class of 1 of 12 images, such as '3\.png'; add them"):
        opened(write(tmp_path / "set", {"l.csv": some}))


def test_a_table_that_tells_no_classes_is_left_out_and_counted(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    text = csv_of("file_name,text", "{name},words", KINDS)
    dataset = opened(write(tmp_path / "set", {**FLAT, "metadata.csv": text}))
    assert dataset.shape.classes == 0
    assert notices(dataset) == ["aside: 1 files end in .csv and are no images by their names, such as 'metadata.csv'"]
    twice = csv_of("file_name,label", "{name},{value}", KINDS) + b"\n000.png,dog\n"
    with pytest.raises(ValueError, match=r"'labels.csv' tells two classes of '000.png', cat and dog; keep one$"):
        opened(write(tmp_path / "two", {**FLAT, "labels.csv": twice}))


def samples(start: int = 0) -> dict[str, bytes]:
    """WebDataset's: an image, its class and what else is known of it, under one key."""
    found: dict[str, bytes] = {}
    for number in range(start, start + 12):
        found |= {f"{number:06}.png": encoded(noise(number)), f"{number:06}.cls": str(number % 2).encode()}
        found[f"{number:06}.json"] = b"{}"
    return found


def test_shards_of_webdataset(opened: Callable[..., Dataset], s3: str, tmp_path: Path) -> None:
    place = tmp_path / "set"
    place.mkdir()
    for name, start in (("train-000.tar", 0), ("train-001.tar", 12), ("val-000.tar", 24)):
        write(place / name, samples(start))
    dataset = opened(place)
    assert dataset.manifest["counts"] == {"train": [22], "validation": [12], "test": [2]}
    assert pairs(dataset) == expected(files(36), {name: str(number % 2) for number, name in enumerate(files(36))})
    assert any(line.startswith("aside: 36 files end in .json") for line in notices(dataset))
    query = f"?endpoint_override={s3}&scheme=http"
    filesystem, path = fs.FileSystem.from_uri(f"s3://key:secret@bucket/{tmp_path.name}/set{query}")
    fs.copy_files(str(place), path, source_filesystem=fs.LocalFileSystem(), destination_filesystem=filesystem)
    assert opened(f"s3://key:secret@bucket/{tmp_path.name}/set{query}").hash == dataset.hash
    assert opened(place / "val-000.tar").shape.classes == 2
    write(place / "more.tar", samples(36))
    with pytest.raises(ValueError, match=r"has 'more.tar/000036.png' beside the shards of its splits"):
        opened(place)


def sheet(path: Path, held: dict[str, bytes], named: bool = True, **more: Any) -> None:
    """A Parquet table as Hugging Face writes it: several row groups, classes by name in its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": data, "path": name} for name, data in held.items()]
    table = pa.table({"image": rows, "label": [number % 2 for number in range(len(rows))], **more})
    told = {"info": {"features": {"label": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}}}}
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(told)} if named else {}), path, row_group_size=5
    )


def test_parquet_tables_of_images(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    for split, count in (("train", 12), ("test", 4)):
        sheet(tmp_path / "set" / "data" / f"{split}-00000-of-00001.parquet", files(count))
    dataset = opened(tmp_path / "set")
    assert dataset.manifest["counts"] == {"train": [11], "validation": [1], "test": [4]}
    assert dataset.manifest["classes"] == ["cat", "dog", "eel"], "in their order, with those that have no image"
    assert pairs(dataset) == expected(FLAT, {name: ("cat", "dog")[number % 2] for number, name in enumerate(FLAT)})
    sheet(tmp_path / "one.parquet", {**FLAT, "cut.png": b"", "worse.png": b"none"}, named=False)
    with pytest.raises(ValueError, match=r"2 images of \S+ cannot be read: '000000012.row': its row has no bytes; "):
        opened(tmp_path / "one.parquet")
    one = opened(tmp_path / "one.parquet", skip_bad=True)
    assert one.manifest["classes"] == ["0", "1"]
    assert sum(count for (count,) in one.manifest["counts"].values()) == 12
    pq.write_table(pa.table({"text": ["a"], "number": [1]}), tmp_path / "none.parquet")
    with pytest.raises(ValueError, match=r"none.parquet has the columns text, number; one of encoded images"):
        opened(tmp_path / "none.parquet")


PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
VALUES = np.arange(20) % 4 + 1


@pytest.mark.parametrize(
    ("arrays", "counts", "channels"),
    [
        ({"x_train": PIXELS, "y_train": VALUES, "x_test": PIXELS[:5], "y_test": VALUES[:5]}, [18, 2, 5], 3),
        ({"arr_0": PIXELS, "arr_1": VALUES}, [16, 2, 2], 3),
        ({"images": PIXELS[..., 0], "labels": VALUES[:, None]}, [16, 2, 2], 1),
        (
            {f"{one}_images": PIXELS for one in ("train", "val", "test")}
            | {f"{one}_labels": VALUES for one in ("train", "val", "test")},
            [20, 20, 20],
            3,
        ),
        ({"images": PIXELS.transpose(0, 3, 1, 2), "labels": VALUES, "notes": np.zeros(3)}, [16, 2, 2], 3),
    ],
)
def test_arrays_of_numpy(
    arrays: dict[str, Any], counts: list[int], channels: int, opened: Callable[..., Dataset], tmp_path: Path
) -> None:
    np.savez_compressed(tmp_path / "set.npz", **arrays)
    dataset = opened(tmp_path / "set.npz")
    assert [len(dataset.splits[split][0]["image"]) for split in ("train", "validation", "test")] == counts
    assert (dataset.shape.channels, dataset.manifest["classes"]) == (channels, ["1", "2", "3", "4"])
    by_pixels = {
        image.transpose(2, 0, 1)[:channels].tobytes(): str(value) for image, value in zip(PIXELS, VALUES, strict=True)
    }
    assert pairs(dataset) == by_pixels
    assert any("such as 'notes'" in line for line in notices(dataset)) == ("notes" in arrays)


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"images": PIXELS.astype(np.float32)}, "the images 'images' are float32; save them as uint8"),
        ({"images": np.zeros((9, 8, 8, 4), np.uint8)}, "with 1 or 3 channels C"),
        ({"one": PIXELS, "two": PIXELS}, "for train one should be images .* there is one and two"),
        ({"images": PIXELS, "y": VALUES, "z": VALUES}, "one only of y and z can be the labels"),
        ({"x_test": PIXELS}, "none to train on"),
    ],
)
def test_arrays_in_doubt(arrays: dict[str, Any], fault: str, opened: Callable[..., Dataset], tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(ValueError, match=rf"^\S+set.npz[^\n]*{fault}[^\n]*$"):
        opened(tmp_path / "set.npz")


def test_one_array_and_a_size_for_what_is_not_square(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", PIXELS[:, :, :6])
    with pytest.raises(ValueError, match="has images of 6x8, not square; give --size"):
        opened(tmp_path / "set.npy")
    assert opened(tmp_path / "set.npy", size=6, fit="pad").splits["train"][0]["image"][0, 0, 0, 0] == 255


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("set.zip", b"words" * 200, "is no archive, which is not read here; allowed: a folder, a zip, a tar"),
        ("set.rar", b"Rar!" * 200, "is of the kind rar, which is not read here"),
        ("set.gz", gzip.compress(b"words", mtime=0), "is compressed by gzip and holds no tar archive"),
        ("set.parquet", b"PAR1" + b"words" * 99, "is not a whole Parquet file"),
        ("set.npy", b"\x93NUMPY\x01\x00", "is not a whole file of arrays"),
    ],
)
def test_files_that_are_no_sets(
    name: str, data: bytes, fault: str, opened: Callable[..., Dataset], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"^[^\n]*{name} {fault}[^\n]*$"):
        opened(tmp_path / name)


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz"])
def test_a_cut_tar_is_refused(name: str, opened: Callable[..., Dataset], tmp_path: Path) -> None:
    place = write(tmp_path / name, files(40))
    place.write_bytes(place.read_bytes()[: 20 * 512 if name == "set.tar" else -400])  # of the tar, between two files
    with pytest.raises(ValueError, match=rf"^[^\n]*{name} is not a whole (tar archive|gzip file) [^\n]*make it again$"):
        opened(place)


def test_links_in_a_tar_are_followed(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    place = tmp_path / "set.tar"
    folder = write(tmp_path / "set", files(10, "a/"))
    (folder / "a" / "soft.png").symlink_to("003.png")
    (folder / "a" / "hard.png").hardlink_to(folder / "a" / "004.png")
    with tarfile.open(place, "w") as archive:
        archive.add(folder, "set")
    assert opened(place).hash == opened(folder).hash
    (folder / "a" / "gone.png").symlink_to("nowhere.png")
    with tarfile.open(place, "w") as archive:
        archive.add(folder, "set")
    with pytest.raises(ValueError, match=r"'set/a/gone\.png': it is not there"):
        opened(place)


def test_what_is_left_out_is_counted_by_reason(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    held = {**files(10, "a/"), **files(10, "b/"), "a/photo.jfif": encoded(noise(50), "JPEG")}
    held |= {f"a/{number}.heic": b"" for number in range(3)} | {"b/x.avif": b"", "README": b"", "notes.txt": b""}
    held |= {"a/@eaDir/000.png/SYNO.jpg": b"", ".cache/1.png": b"", "a/._000.png": b""}
    place = write(tmp_path / "set", held)
    (place / "c" / "deeper").mkdir(parents=True)
    dataset = opened(place)
    assert sum(count for (count,) in dataset.manifest["counts"].values()) == 21, "a .jfif is a JPEG"
    assert [line for line in notices(dataset) if "aside" in line] == [
        "aside: 2 files are hidden, such as '.cache/1.png'",
        (
            "aside: 1 files are thumbnails or old copies of a file server (@eaDir or #recycle), such as "
            "'a/@eaDir/000.png/SYNO.jpg'"
        ),
        "aside: 1 files end in .avif, which is not read: convert them, to PNG for example, such as 'b/x.avif'",
        "aside: 3 files end in .heic, which is not read: convert them, to PNG for example, such as 'a/0.heic'",
        "aside: 1 files end in .txt and are no images by their names, such as 'notes.txt'",
        "aside: 1 files have names without a suffix, such as 'README'",
        "aside: 1 folders have no images, and make no classes, such as 'c'",
    ]
    with pytest.raises(ValueError, match=r"holds no images; .*; found: 1 files end in .heic, which is not read"):
        opened(write(tmp_path / "other", {"a.heic": b""}))


def test_images_overwritten_in_place_are_noticed(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    place = write(tmp_path / "set", files(12, "a/"))
    before = opened(place)
    same, status = place / "a" / "003.png", (place / "a").stat()
    same.write_bytes(encoded(noise(99)))
    os.utime(place / "a", ns=(status.st_atime_ns, status.st_mtime_ns))  # no folder tells of it
    assert opened(place).hash != before.hash


def test_a_host_whose_cache_is_older_than_the_files_looks_at_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver on another host has made its own from the files as they are now."""
    place = write(tmp_path / "set", files(12))
    config = DataConfig(f"images:{place}")
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path / "worker"))
    before = dataset_of(config, None, False)
    (place / "003.png").write_bytes(encoded(noise(99)))
    now = open_dataset(config, cache=str(tmp_path / "driver"))
    assert dataset_of(config, None, False).hash == before.hash != now.hash
    assert dataset_of(config, None, False, now.hash).hash == now.hash


def test_names_work_the_second_time_as_the_first(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    """A folder that is no UTF-8, names as long as disks allow, and one name in two forms of Unicode."""
    odd = os.fsdecode(b"caf\xe9")
    long = tmp_path / ("x" * 255)
    held = {**files(9, f"{odd}/"), **files(9, "plain/"), f"plain/{'y' * 251}.png": encoded(noise(70))}
    for _ in range(2):
        dataset = opened(write(long, held))
        assert dataset.manifest["classes"] == ["caf\\xe9", "plain"]
    composed, apart = "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"
    split = {**files(9, f"train/{composed}/"), **files(9, "train/b/"), **files(3, f"test/{apart}/")}
    assert opened(write(tmp_path / "split.zip", split)).manifest["classes"] == ["b", composed]
    with pytest.raises(ValueError, match="which are one name in two forms of Unicode"):
        opened(write(tmp_path / "both.zip", {**files(9, f"{composed}/"), **files(9, f"{apart}/")}))
    with pytest.raises(ValueError, match=r"^place '\S+caf\\udce9' has a name that is no UTF-8"):
        opened(write(tmp_path / odd, files(9)))


def test_a_folder_may_be_called_as_a_shard_is(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset = opened(write(tmp_path / "set", {**files(9, "a.tar/"), **files(9, "b.tar/")}))
    assert dataset.manifest["classes"] == ["a.tar", "b.tar"]
