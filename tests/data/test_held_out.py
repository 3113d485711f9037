"""Which images the held-out ones are: the same for every number of labels and every draw of them, and compared, not
assumed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gen.config import DataConfig
from gen.data.dataset import Dataset, open_dataset
from tests.fixtures import tables


def opened(cache: str, **settings: object) -> Dataset:
    return open_dataset(DataConfig("digits", **settings), cache=cache)  # type: ignore[arg-type]


def test_held_out_images_are_the_same_for_every_number_of_labels_and_every_draw(cache: str):
    whole = opened(cache)
    few = [opened(cache, labels=labels, label_seed=seed) for labels in (20, 100) for seed in (0, 1)]
    assert len({one.hash for one in (whole, *few)}) == 5
    assert {one.held_out for one in few} == {whole.held_out}
    for one in few:
        for split in ("validation", "test"):
            assert torch.equal(one.column(split, "image"), whole.column(split, "image"))
            assert torch.equal(one.column(split, "label"), whole.column(split, "label"))


@pytest.mark.parametrize("settings", [{"validation": 0.2}, {"size": 16}])
def test_other_held_out_images_have_another_hash(settings: dict[str, object], cache: str):
    assert opened(cache, labels=20, **settings).held_out != opened(cache, labels=20).held_out


@pytest.mark.parametrize("column", ["image", "label"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_one_other_value_of_a_held_out_column_changes_the_hash(split: str, column: str):
    dataset = tables.labelled()
    (table,) = dataset.splits[split]
    values = table[column].clone()
    values.view(-1)[3] += 1
    changed = dataclasses.replace(dataset, splits={**dataset.splits, split: ({**table, column: values},)})
    assert (changed.held_out == dataset.held_out) == (split == "train")


def test_codes_are_no_held_out_images():
    dataset = tables.labelled()
    assert tables.coded(dataset).held_out == dataset.held_out


def test_more_labels_of_a_draw_are_labels_beside_those_of_fewer(cache: str):
    """So that accuracies of several numbers of labels differ by the images that came to it."""

    def labelled(count: int) -> set[bytes]:
        return {np.asarray(image).tobytes() for image in opened(cache, labels=count).column("train", "image")}

    assert labelled(20) < labelled(50) < labelled(100)
