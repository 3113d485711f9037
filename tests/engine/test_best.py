"""What a run does for its best weights: the full protocol, and pictures, which never end it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas
import pytest
import torch
from torch import Tensor, nn

from gen import results
from gen.capabilities import Imitates, Reconstructs
from gen.config import RunConfig, identity, override
from gen.data.dataset import Dataset
from gen.distributed.workers import Workers
from gen.engine.build import build_model
from gen.engine.fit import SPLITS, fit
from gen.judge import Judge
from gen.judge.networks.extractors import Extractor
from gen.optimizers import Adam
from gen.phase import Batch, Logs, Model, Phase, Shape
from gen.pictures import kinds
from gen.record import checkpoint
from gen.record.record import Home
from gen.results.schema import FULL_SHARE, LATER_SECONDS
from gen.results.storage import Storage
from tests.engine.test_fit import CPU, SMALL, home, rows, small, trained
from tests.fixtures.pair import Pair
from tests.fixtures.runs import FEWER

pytestmark = pytest.mark.slow


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
    share = metrics[metrics["name"] == FULL_SHARE]["value"]
    assert share.to_list() == [taken["value"].iloc[-1] / tick.seconds] * (full == "all")
    assert results.leaderboard(str(tmp_path), "experiment")["seconds"].to_list() == [tick.seconds]
    assert identity(config, digits.hash) == identity(override(config, {"evaluate.full": "all"}), digits.hash)


@pytest.mark.parametrize("full", ["leaders", "none"])
def test_a_run_that_ended_without_is_measured_in_full_when_that_is_asked_for(
    full: str, digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    """As if it had been so at once, but for the seconds, which are beside the run's own; and no more than once."""
    config = small("vae_mlp", **{"budget.epochs": 2})
    without = override(config, {"evaluate.full": full})
    *_, ended = trained(without, digits, judge, tmp_path)
    trained(config, digits, judge, tmp_path / "at once")
    (again,) = trained(config, digits, judge, tmp_path)
    assert (again.tick, again.ended, again.seconds) == (2, "finished", ended.seconds)
    mine, whole = (best(place).set_index("protocol")["value"] for place in (tmp_path, tmp_path / "at once"))
    assert mine.to_dict() == whole.to_dict()
    pictures = [rows(place, "samples").set_index("kind")["png"] for place in (tmp_path, tmp_path / "at once")]
    assert pictures[0].to_dict() == pictures[1].to_dict()
    (outcome,) = results.outcomes(str(tmp_path), "experiment", all_ends=True).to_dict("records")
    later = results.metrics(str(tmp_path), "experiment").set_index("name")["value"]
    board = results.leaderboard(str(tmp_path), "experiment")
    assert board["rank"].to_list() == [1]
    assert board["seconds"].to_list() == [outcome["seconds"] + later[LATER_SECONDS]]
    assert later[FULL_SHARE] == later[LATER_SECONDS] / board["seconds"].item()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.p*")}
    trained(config, digits, judge, tmp_path)
    trained(without, digits, judge, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.p*")} == before


@pytest.mark.parametrize(("rate", "ends"), [(1e-3, [1.0, 3.0]), (0.0, [1.0])])  # better with every epoch, or never
def test_what_was_measured_after_the_end_stays_when_the_budget_grows(
    rate: float, ends: list[float], digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    config = small("vae_mlp", **{"budget.epochs": 1, "model.optimizer.rate": rate})
    trained(override(config, {"evaluate.full": "none"}), digits, judge, tmp_path)
    trained(config, digits, judge, tmp_path)
    first = best(tmp_path)
    assert first["epoch"].unique().tolist() == [1.0]
    assert trained(override(config, {"budget.epochs": 3}), digits, judge, tmp_path)[-1].ended == "finished"
    figures = best(tmp_path)
    assert sorted(figures["epoch"].unique()) == ends
    assert not figures.duplicated(["epoch", "protocol"]).any()
    pandas.testing.assert_frame_equal(figures[figures["epoch"] == 1.0].reset_index(drop=True), first)
    board = results.leaderboard(str(tmp_path), "experiment", "bound/images")
    assert (board["rank"].item(), board["best_epoch"].item()) == (1, ends[-1])


def test_only_what_is_missing_is_measured_after_the_end(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    """A part may be there: another tool measured it, or an earlier version, under protocols some of which changed."""
    config = small("vae_mlp", **{"budget.epochs": 1, "evaluate.full": "none"})
    trained(config, digits, judge, tmp_path)
    model = build_model(config, digits, CPU)
    model.load_state_dict(checkpoint.load_best(Storage(str(tmp_path)), "experiment", run_of(tmp_path), CPU)["weights"])
    figures = judge.figures(model.eval(), "test", 80, "raw", only=["kid/fakes", "mse/reconstructions"])
    here = {"experiment": "experiment", "run": run_of(tmp_path), "attempt": "b", "tick": 1, "step": 21, "epoch": 1.0}
    slot = results.Slot(Storage(str(tmp_path)), "experiment", "b", kind="evaluated")
    slot.extend({"evals": [{**here, "images": 1, "scope": "best", **figure.row()} for figure in figures]})
    trained(override(config, {"evaluate.full": "all"}), digits, judge, tmp_path)
    found = best(tmp_path)
    planned = [figure.protocol for split in SPLITS for figure in judge.plan(model, split, 80, "raw")]
    assert sorted(found["protocol"]) == sorted(planned)
    assert set(found["metric"][found["attempt"] == "b"]) == {"kid", "mse"}


def test_a_stopped_run_is_not_measured_in_full_later(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    """Nor is one that failed: those do not count among what finished."""
    config = small("vae_mlp", **{"evaluate.full": "none"})
    ticks = fit(config, digits, device=CPU, judge=judge, home=home(tmp_path))
    next(ticks)
    ticks.send("enough")
    (again,) = trained(override(config, {"evaluate.full": "all"}), digits, judge, tmp_path)
    assert again.ended == "stopped"
    assert best(tmp_path).empty


def measured_by_two(workers: Workers, config: RunConfig, dataset: Dataset, extractor: Extractor, place: str) -> int:
    """How many ticks an ended run gives, whose best weights two workers measure together."""
    judge = Judge(dataset, extractor, CPU, 100, importance=FEWER)
    storage = Storage(place)
    return len(
        list(fit(config, dataset, device=CPU, workers=workers, judge=judge, home=Home(storage, "experiment", "two")))
    )


def test_two_workers_measure_an_ended_run_as_one(digits: Dataset, judge: Judge, pair: Pair, tmp_path: Path) -> None:
    config = small("vae_mlp", **{"budget.epochs": 1, "train.micro_batches": 2})
    trained(override(config, {"evaluate.full": "none"}), digits, judge, tmp_path)
    trained(config, digits, judge, tmp_path / "alone")
    assert pair.run(measured_by_two, config, digits, judge.extractor, str(tmp_path)) == [1, 1]
    found, alone = (best(place).set_index("protocol")["value"] for place in (tmp_path, tmp_path / "alone"))
    assert set(found.index) == set(alone.index)
    assert not found.index.duplicated().any()
    for protocol, value in alone.items():
        assert found[protocol] == pytest.approx(value, rel=1e-6), protocol


def best(place: Path) -> pandas.DataFrame:
    """The figures of best weights on record, in an order that does not depend on files."""
    frame = results.evals(str(place), "experiment", scope="best")
    return frame.sort_values(["epoch", "protocol"], ignore_index=True)


def run_of(place: Path) -> str:
    (run,) = results.runs(str(place), "experiment")["run"]
    return str(run)


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


@pytest.mark.parametrize("later", [False, True])
def test_a_run_whose_full_protocol_has_no_room_is_finished_and_says_so(
    later: bool, digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    """Asked for more fakes at once than any memory holds: at its end, or when that is asked for later. It is asked for
    them again whenever it is begun again."""
    config = small("vae_mlp", **{"budget.epochs": 1, "evaluate.full_images": 2**50})
    if later:
        trained(override(config, {"evaluate.full": "none"}), digits, judge, tmp_path)
    for _ in range(2):
        (tick,) = trained(config, digits, Judge(digits, judge.extractor, CPU, 2**50), tmp_path)
        assert tick.ended == "finished"
        (line,) = tick.remarks
        assert line.startswith(f"run {run_of(tmp_path)} was not measured in full: out of memory on cpu: it asked for ")
        assert best(tmp_path).empty
        (outcome,) = results.outcomes(str(tmp_path), "experiment", all_ends=True).to_dict("records")
        assert (outcome["status"], outcome["why"]) == ("finished", "1 epochs")
