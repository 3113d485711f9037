"""A game that is closed and begun again computes what it would have computed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from torch import Tensor

from gen.config import RunConfig, identity
from gen.engine.fit import fit
from gen.record import checkpoint
from gen.results.storage import Storage
from tests.conftest import ROOT
from tests.seams.house import CPU, EXPERIMENT, PLAYED, data_of, home, judge_of, rows, small, trained

pytestmark = pytest.mark.slow

KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from gen.engine.step import Stepper
from tests.seams.house import small, trained
torch.set_num_threads(1)
advance, last = Stepper.advance, int(sys.argv[2])
def advance_or_die(self):
    advance(self)
    if self.step == last:
        os.kill(os.getpid(), signal.SIGKILL)
Stepper.advance = advance_or_die
trained("cyclegan", small("cyclegan", **{"budget.epochs": 3, "evaluate.full": "none"}), Path(sys.argv[1]))
"""
AVERAGED = {"train.ema": 0.9, "train.ema_batches": 2, "train.clip": 1.0, "train.micro_batches": 2}
AVERAGED |= {"train.precision": "bf16"}
SETTINGS = ({}, {**AVERAGED, "data.augment.flip": True, "data.augment.margin": 0.5})


def weights(place: Path, entry: str, config: RunConfig) -> dict[str, Tensor]:
    run = identity(config, data_of(entry).hash)
    state = checkpoint.load(Storage(str(place)), f"{checkpoint.folder(EXPERIMENT, run)}/last.pt", CPU)
    assert state is not None
    return state["stepper"]["model"]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("entry", PLAYED)
def test_a_resumed_run_is_bit_for_bit_one_that_never_stopped(
    entry: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    config = small(entry, **{"budget.epochs": 4, "evaluate.full": "none", "evaluate.pictures": 2, **settings})
    whole, cut = trained(entry, config, tmp_path / "whole"), []
    for stop in (1, 2, 9):  # closed after the first tick, then after two more, then left to end
        ticks = fit(config, data_of(entry), device=CPU, judge=judge_of(entry), home=home(tmp_path / "cut"))
        for count, tick in enumerate(ticks, 1):
            cut.append(tick)
            torch.randn(3)  # others use the generator too
            if count == stop:
                ticks.close()
    assert [tick.tick for tick in cut] == [tick.tick for tick in whole] == [1, 2, 3, 4]
    assert [tick.evals for tick in cut] == [tick.evals for tick in whole]
    for table in ("metrics", "evals", "samples", "runs", "settings"):
        pandas.testing.assert_frame_equal(rows(tmp_path / "whole", table), rows(tmp_path / "cut", table))
    one, other = (weights(tmp_path / side, entry, config) for side in ("whole", "cut"))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_cyclegan_killed_in_mid_epoch_has_the_weights_and_pools_of_one_that_was_not(tmp_path: Path) -> None:
    entry = "cyclegan"
    config = small(entry, **{"budget.epochs": 3, "evaluate.full": "none"})
    whole = trained(entry, config, tmp_path / "whole")
    last = int(1.25 * whole[1].step)  # half an epoch after the checkpoint of the second
    assert whole[1].step < last < whole[2].step
    child = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(last)], cwd=ROOT, check=False)
    assert child.returncode == -signal.SIGKILL
    assert [tick.tick for tick in trained(entry, config, tmp_path / "killed")] == [3]
    one, other = (weights(tmp_path / side, entry, config) for side in ("whole", "killed"))
    pools = [name for name in one if "pool" in name]
    assert all(one[name].abs().sum() > 0 for name in pools if one[name].is_floating_point())
    assert len(pools) > 1
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
