"""What a run does for its best weights: the full protocol, and pictures, which never end it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas
import pytest
import torch
from torch import Tensor, nn

from gen.capabilities import Imitates, Reconstructs
from gen.config import RunConfig, identity, override
from gen.data.dataset import Dataset
from gen.judge import Judge
from gen.optimizers import Adam
from gen.phase import Batch, Logs, Model, Phase, Shape
from gen.pictures import kinds
from tests.engine.test_fit import SMALL, rows, small, trained


@pytest.mark.parametrize("full", ["all", "leaders", "none"])
def test_the_full_protocol_is_for_weights_that_may_be_reported(
    full: str, digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    """A search asks for its leaders' alone, and later; what it takes is counted among a run's seconds."""
    config = small("vae_mlp", **{"budget.epochs": 1, "evaluate.full": full})
    (tick,) = trained(config, digits, judge, tmp_path)
    assert tick.ended == "finished"
    evals, metrics = (pandas.read_parquet(tmp_path / "experiment" / table) for table in ("evals", "metrics"))
    assert set(evals["scope"]) == ({"tick", "best"} if full == "all" else {"tick"})
    assert (tmp_path / "experiment" / "samples").exists() == (full == "all")
    taken = metrics[metrics["name"].isin(["engine/train_seconds", "engine/evaluate_seconds", "engine/full_seconds"])]
    assert len(taken) == (3 if full == "all" else 2)
    assert tick.seconds == pytest.approx(taken["value"].sum())
    assert identity(config, digits.hash) == identity(override(config, {"evaluate.full": "all"}), digits.hash)


@dataclass(frozen=True)
class Draws:
    """A config whose model cannot draw images for pictures."""

    error: str = "no colours left"
    optimizer: Adam = field(default_factory=Adam)

    def build(self, shape: Shape) -> Model:
        return Undrawable(self)


class Undrawable(Model, Imitates, Reconstructs):
    """Pictures are of 64 images; the judge asks for 60 or 100 at once."""

    def __init__(self, config: Draws) -> None:
        super().__init__()
        self.config, self.weight = config, nn.Parameter(torch.ones(1))

    def phases(self) -> list[Phase]:
        return [Phase("only", self, self.loss, self.config.optimizer)]

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        return self.weight.square().sum(), {}

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        if len(batch["image"]) == kinds.COUNT:
            raise RuntimeError(self.config.error)
        return {"image": torch.rand_like(batch["image"]) * self.weight.clamp(-1, 1)}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": batch["image"] * self.weight}


def test_a_picture_that_fails_is_an_event_and_the_run_goes_on(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    config = override(RunConfig("draws", "test", Draws()), {**SMALL, "evaluate.pictures": 2})
    *_, last = trained(config, digits, judge, tmp_path)
    assert (last.tick, last.ended, last.why) == (4, "finished", "4 epochs")
    events = rows(tmp_path, "events")
    assert set(events["kind"]) == {"picture"}
    assert set(events["why"]) == {"fakes not drawn: RuntimeError: no colours left"}
    assert events["tick"].to_list() == [2, 4, 4]
    assert set(rows(tmp_path, "samples")["kind"]) == {"reconstructions"}  # the others are drawn
    assert events["epoch"].to_list() == [2.0, 4.0, 4.0]  # at two ticks, and of the best weights
    evals = rows(tmp_path, "evals")
    assert {"validation", "test"} == set(evals[evals["scope"] == "best"]["split"])  # what was measured is there
    assert rows(tmp_path, "outcomes")["status"].to_list() == ["finished"]
