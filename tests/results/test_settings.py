"""A setting's value comes back from the tables as it was."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from gen import results
from gen.config import on_stage, override, to_json
from gen.data.dataset import Dataset
from gen.engine.fit import fit
from gen.judge import Judge
from gen.record.record import Home, setting_rows
from gen.results.configured import told_by
from gen.zoo import ZOO, tiny
from tests.fixtures import tables
from tests.report import rows


@pytest.mark.parametrize("seed", [0, 2**53, 2**53 + 1, 2**63 - 1])
def test_values_of_every_type(seed: int, digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    settings = {"budget.epochs": 1, "evaluate.full": "none", "seed": seed}
    config = override(tiny(ZOO["gan_mlp_small"]), settings)
    home = Home(results.Storage(str(tmp_path)), "e", "a")
    list(fit(config, digits, device=torch.device("cpu"), judge=judge, home=home))
    (row,) = results.settings(str(tmp_path)).to_dict("records")
    assert row["seed"] == seed
    assert row["model.together"] is False
    assert row["watch.stop"] is False
    assert row["train.batch"] == 8
    assert row["model.generator_optimizer.rate"] == 1e-3
    assert row["model.noise"] == "uniform"
    frame = results.settings(str(tmp_path)).set_index("seed")
    assert list(frame.index) == [seed]
    assert results.runs(str(tmp_path))["seed"].to_list() == [seed]
    assert results.leaderboard(str(tmp_path), "e")["seed"].to_list() == [seed]


@pytest.mark.parametrize("entry", ZOO)
def test_the_config_in_runs_tells_every_setting(entry: str) -> None:
    config = ZOO[entry].resolve()
    assert sorted(told_by(to_json(config)), key=lambda row: row["key"]) == sorted(
        setting_rows(config), key=lambda row: row["key"]
    )


def test_the_first_stage_too() -> None:
    stage = tables.coded(tables.unlabelled()).stage_one
    config = on_stage(ZOO["vqvae_gmm"], stage)
    assert {row["key"]: row for row in told_by(to_json(config))} == {row["key"]: row for row in setting_rows(config)}


def test_a_run_whose_settings_are_lost_is_what_its_config_says(tmp_path: Path) -> None:
    """It is of its configuration still, in each ranking."""
    place = str(tmp_path)
    rows.write(tmp_path, "e", rows.configs(rates=[0.001, 0.002], seeds=2))
    rows.write(tmp_path, "other", rows.configs(rates=[0.001], seeds=1))
    boards = {by: results.leaderboard(place, "e", by=by) for by in ("run", "config")}
    told = {wide: results.settings(place, wide=wide) for wide in (True, False)}
    compared = results.compare(place, "e", "model.optimizer.rate")
    assert boards["config"]["n"].to_list() == [2, 2]
    (file,) = (tmp_path / "e" / "settings").glob("*r0-0*")
    file.unlink()
    for by, board in boards.items():
        pd.testing.assert_frame_equal(results.leaderboard(place, "e", by=by), board)
    for wide, frame in told.items():
        pd.testing.assert_frame_equal(results.settings(place, wide=wide), frame)
    pd.testing.assert_frame_equal(results.compare(place, "e", "model.optimizer.rate"), compared)
    (tmp_path / "e" / "runs" / file.name).unlink()  # its config too
    assert set(results.settings(place, "e")["run"]) == {"r0-1", "r1-0", "r1-1"}
