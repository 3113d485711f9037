"""A setting's value comes back from the tables as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gen import results
from gen.config import override
from gen.data.dataset import Dataset
from gen.engine.fit import fit
from gen.judge import Judge
from gen.record.record import Home
from gen.zoo import ZOO, tiny


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
