"""What a judge keeps in a storage: damaged references and extractors are made anew, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gen.damage import take_remarks
from gen.data.dataset import Dataset
from gen.distributed.workers import ALONE
from gen.judge import Judge
from gen.judge.networks import classifier
from gen.judge.open import Keeper, stored_in
from gen.judge.reference import References
from gen.phase import Shape
from gen.results.storage import Storage
from tests.fixtures.harm import cuts, flips, others, same

CPU = torch.device("cpu")


def test_damaged_references_are_made_anew_and_that_is_said(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    """Of several kinds of damage each: the statistics are those of before, to the last bit."""
    storage = Storage(str(tmp_path))

    def opened() -> list[object]:
        references = References(digits, judge.extractor, CPU, 64, storage)
        moments = references.moments("validation", "image", ALONE)
        return [moments.mean, moments.covariance, moments.root, references.sample("validation", "image", 60, ALONE)]

    first = opened()
    files = {path: path.read_bytes() for path in tmp_path.rglob("reference-*.pt")}
    assert len(files) == 2
    said = 0
    for file, data in files.items():
        for where, harmed in (*flips(data, 8), *cuts(data), *others()):
            file.write_bytes(harmed)
            take_remarks()
            assert all(map(same, opened(), first)), where
            lines = take_remarks()
            said += len(lines)
            assert len(lines) <= 1
            for line in lines:
                assert line == f"{file} was damaged, and is made anew"
                assert file.read_bytes() == data
            file.write_bytes(data)
    assert said > 16


def test_a_damaged_extractor_is_made_anew_and_that_is_said(tmp_path: Path) -> None:
    storage, file = Storage(str(tmp_path)), tmp_path / "_cache" / "key.pt"
    data = classifier.to_bytes(classifier.Classifier(Shape(1, 8, 3)))
    made = []

    def make() -> bytes:
        made.append(1)
        return data

    keep = Keeper(storage, CPU, ALONE)
    assert keep("key.pt", make) == data
    assert len(made) == 1
    for where, harmed in (*flips(data, 20), *cuts(data), *others()):
        file.write_bytes(harmed)
        take_remarks()
        made.clear()
        kept = classifier.from_bytes(keep("key.pt", make), CPU)
        assert kept.weights_hash == classifier.from_bytes(data, CPU).weights_hash, where
        assert len(take_remarks()) == len(made), where
    file.write_bytes(b"")
    with pytest.raises(FileNotFoundError):  # where nothing is made, it counts as absent
        stored_in(storage)("key.pt", make)
