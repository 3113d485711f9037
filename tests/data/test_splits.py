"""Which images belong to which split: of each class some, and only so many to train on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gen.config import DataConfig
from gen.data.dataset import Dataset, open_dataset
from gen.data.notices import notices
from gen.data.raw import Raw
from gen.data.splits import split_up
from tests.fixtures.pictures import files, write


def opened(tmp_path: Path, **settings: Any) -> Dataset:
    return open_dataset(DataConfig(**{"name": "digits", **settings}), cache=str(tmp_path / "cache"))


def rows(table: Any) -> set[bytes]:
    return {image.numpy().tobytes() for image in table["image"]}


def test_so_many_training_images_balanced(tmp_path: Path) -> None:
    whole, some, few = (opened(tmp_path, images=count) for count in (0, 203, 50))
    ((train,), (fewer,), (all_,)) = (dataset.splits["train"] for dataset in (some, few, whole))
    assert sorted(train["label"].bincount().tolist()) == [20] * 7 + [21] * 3
    assert rows(fewer) < rows(train) < rows(all_)
    assert whole.held_out == some.held_out, "validation and test stay as they are"
    assert len({whole.hash, some.hash, few.hash}) == 3
    assert notices(some) == ["images: 203 of 1,293 training images are used, balanced over 10 classes (data.images)"]
    labelled = opened(tmp_path, images=203, labels=20).splits["train"]
    assert rows(labelled[0]) | {image.numpy().tobytes() for image in labelled[1]["unlabelled"]} == rows(train)


@pytest.mark.parametrize("images", [9, 1294])
def test_so_many_as_there_are_not(images: int, tmp_path: Path) -> None:
    fault = (
        rf"^images={images} is out of range: digits has 1293 training images of 10 classes; allowed: from 10 to 1293, "
    )
    with pytest.raises(ValueError, match=fault):
        opened(tmp_path, images=images)


def test_so_many_of_files_and_of_each_domain(tmp_path: Path) -> None:
    place = write(tmp_path / "set", {**files(20, "many/"), **files(4, "few/")})
    few, many = opened(tmp_path, name=f"images:{place}").splits["train"][0]["label"].bincount().tolist()
    dataset = opened(tmp_path, name=f"images:{place}", images=10)
    assert few < 5 < many
    assert dataset.splits["train"][0]["label"].bincount().tolist() == [few, 10 - few], "as far as a class has them"
    pair = write(tmp_path / "pair", {**files(30, "trainA/"), **files(9, "trainB/")})
    domains = opened(tmp_path, name=f"unpaired:{pair}", images=12)
    assert domains.manifest["counts"]["train"] == [12, 7]
    assert notices(domains) == ["images: 12 of 24+7 training images are used (data.images)"]


def uneven() -> Raw:
    labels = np.repeat([0, 1, 2, 3], [300, 40, 4, 2])
    return Raw({"train": ({"image": np.zeros((346, 1, 8, 8), np.uint8), "label": labels},)}, 4)


def test_stratified_splits_hold_a_share_of_each_class() -> None:
    (columns,) = uneven().splits["train"]
    found = split_up(uneven(), 0.1, stratified=True)
    counts = {
        split: np.bincount(columns["label"][picks[0].rows], minlength=4).tolist() for split, picks in found.items()
    }  # type: ignore[index]
    assert counts == {"train": [240, 32, 2, 2], "validation": [30, 4, 1, 0], "test": [30, 4, 1, 0]}
    everything = np.concatenate([picks[0].rows for picks in found.values()])
    assert sorted(everything) == list(range(346))


def test_stratified_is_a_setting_and_who_lacks_it_is_told(tmp_path: Path) -> None:
    place = write(tmp_path / "set", {**files(40, "a/"), **files(5, "b/"), **files(5, "c/")})
    plain, alike = (opened(tmp_path, name=f"images:{place}", stratified=value) for value in (False, True))
    assert plain.hash != alike.hash
    for split in ("validation", "test"):
        assert alike.splits[split][0]["label"].bincount().tolist() == [4, 1, 1]
    assert not notices(alike)
    missing = {split: 3 - len(torch.unique(plain.splits[split][0]["label"])) for split in ("test", "validation")}
    assert notices(plain) == [
        f"{split}: no images of {count} of 3 classes; data.stratified=true holds out some of each"
        for split, count in missing.items()
        if count
    ]
