"""Checkpoints that are damaged, or something else: one line that names the file, or an earlier one is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gen.damage import DamageError, take_remarks
from gen.record import checkpoint
from gen.results.storage import Storage
from tests.fixtures.harm import cuts, flips, others, same

CPU = torch.device("cpu")
STATES: dict[str, dict[str, Any]] = {
    "best-000002.pt": {
        "weights": {"weight": torch.arange(12.0).view(3, 4), "bias": torch.ones(3)},
        "config": "{}", "shape": (1, 8, 10), "grey": [], "tick": 2, "epoch": 2.0, "step": 20, "images": 640,
        "metric": "mse/reconstructions", "value": 0.5, "kind": "raw",
    },
    "last.pt": {
        "config": "{}", "stepper": {"model": {"weight": torch.ones(9)}}, "progress": {"tick": 2, "best_tick": 2},
        "data": {},
    },
}  # fmt: skip


@pytest.fixture(params=STATES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def stored(place: Path, name: str) -> tuple[Storage, Path]:
    """A storage with that checkpoint of run "r" of experiment "e", and where it lies."""
    storage, path = Storage(str(place)), f"{checkpoint.folder('e', 'r')}/{name}"
    checkpoint.save(storage, path, STATES.get(name, STATES["best-000002.pt"]))
    return storage, place / path


def test_a_flipped_bit_is_found_or_changes_nothing(kind: str, tmp_path: Path) -> None:
    storage, file = stored(tmp_path, kind)
    found = list[str]()
    for where, harmed in flips(file.read_bytes(), 200):
        file.write_bytes(harmed)
        try:
            state = checkpoint.load(storage, f"{checkpoint.folder('e', 'r')}/{kind}", CPU)
            assert same(state, {"version": 1, **STATES[kind]}), where
        except DamageError as error:
            found.append(str(error))
    assert len(found) > 60
    assert all(line.startswith(f"{file} is not a checkpoint (") and "\n" not in line for line in found)


def test_what_is_cut_or_something_else_is_one_line(kind: str, tmp_path: Path) -> None:
    storage, file = stored(tmp_path, kind)
    advice = "put a copy of it back" if kind.startswith("best") else "delete it, and the same submitted again"
    for where, harmed in (*cuts(file.read_bytes()), *others()):
        file.write_bytes(harmed)
        with pytest.raises(DamageError) as caught:
            checkpoint.load(storage, f"{checkpoint.folder('e', 'r')}/{kind}", CPU)
        assert str(caught.value).startswith(f"{file} is not a checkpoint ("), where
        assert advice in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_last_state_is_looked_at_before_anything_starts(tmp_path: Path) -> None:
    storage, file = stored(tmp_path, "last.pt")
    checkpoint.check_last(storage, "e", "r")
    checkpoint.check_last(storage, "e", "another")
    _, best = stored(tmp_path, "best-000002.pt")
    checkpoint.check_last(storage, "e", "r")
    best.write_bytes(best.read_bytes()[:-9])
    with pytest.raises(DamageError, match=r"/best-000002.pt is not a checkpoint "):  # not after hours of training
        checkpoint.check_last(storage, "e", "r")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DamageError, match=r"/last.pt is not a checkpoint .* submitted again trains the run from its"):
        checkpoint.check_last(storage, "e", "r")


def test_earlier_best_weights_are_used_where_there_are_some_and_that_is_said(tmp_path: Path) -> None:
    """A run that was killed before it deleted the earlier ones."""
    _, earlier = stored(tmp_path, "best-000001.pt")
    storage, later = stored(tmp_path, "best-000002.pt")
    assert checkpoint.load_best(storage, "e", "r", CPU)["weights"]["bias"].sum() == 3
    assert take_remarks() == []
    later.write_bytes(later.read_bytes()[:-9])
    assert checkpoint.load_best(storage, "e", "r", CPU)["weights"]["bias"].sum() == 3
    (line,) = take_remarks()
    assert line.startswith(f"{later} is not a checkpoint (")
    assert line.endswith("; meanwhile the earlier best-000001.pt is used")
    earlier.write_bytes(b"")
    with pytest.raises(DamageError, match=r"best-000002.pt is not a checkpoint"):
        checkpoint.load_best(storage, "e", "r", CPU)
    assert take_remarks() == []


def test_weights_of_another_model_are_refused() -> None:
    weights = STATES["best-000002.pt"]["weights"]
    checkpoint.put_weights(nn.Linear(4, 3), weights, "r")
    with pytest.raises(DamageError, match=r"^the stored weights of run r do not fit its model \([^\n]*\); put a copy"):
        checkpoint.put_weights(nn.Linear(5, 3), weights, "r")
