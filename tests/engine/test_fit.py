"""Runs as users see them: ticks, rows, checkpoints, resume, ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from torch import Tensor, nn

from gen import results
from gen.capabilities import Reconstructs
from gen.config import EvaluateConfig, RunConfig, identity, override
from gen.data.dataset import Dataset
from gen.engine.build import build_model, steering
from gen.engine.fit import Tick, fit
from gen.engine.guards import GUARDS
from gen.judge import Judge
from gen.optimizers import Adam
from gen.phase import Batch, Logs, Model, Phase, Shape
from gen.record import checkpoint
from gen.record.record import Home
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny

CPU = torch.device("cpu")
SMALL = {"budget.epochs": 4, "budget.checkpoint_seconds": 0, "evaluate.images": 60, "evaluate.full_images": 80}


def small(entry: str, **settings: Any) -> RunConfig:
    return override(tiny(ZOO[entry]), {**SMALL, "train.batch": 64, **settings})


def home(place: Path, **settings: Any) -> Home:
    return Home(Storage(str(place)), "experiment", "attempt", **settings)


def trained(config: RunConfig, dataset: Dataset, judge: Judge, place: Path, **settings: Any) -> list[Tick]:
    return list(fit(config, dataset, device=CPU, judge=judge, home=home(place, **settings)))


def rows(place: Path, table: str) -> pandas.DataFrame:
    """The table without what differs between two runs: clocks."""
    frame = pandas.read_parquet(place / "experiment" / table, dtype_backend="pyarrow")
    if table == "metrics":
        frame = frame[~frame.name.str.startswith("engine/")]
    clocks = ["seconds", "images_per_second", "ended", "started", "time", "hosts"]
    frame = frame.drop(columns=[name for name in clocks if name in frame])
    return frame.sort_values(list(frame.columns.difference(["png"]))).reset_index(drop=True)


def weights(place: Path, config: RunConfig, dataset: Dataset, name: str = "last.pt") -> dict[str, Tensor]:
    path = f"{checkpoint.folder('experiment', identity(config, dataset.hash))}/{name}"
    state = checkpoint.load(Storage(str(place)), path, CPU)
    assert state is not None
    return state["stepper"]["model"]


MOVING = [
    entry for entry in ZOO if tiny(ZOO[entry]).model.build(Shape(1, tiny(ZOO[entry]).data.size or 8, 10)).phases()
]
FAMILIES = {ZOO[entry].family: entry for entry in MOVING}  # family -> its last entry
AVERAGED = {"train.ema": 0.9, "train.ema_batches": 2, "train.clip": 1.0, "train.micro_batches": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "settings"),
    [
        *(pytest.param(entry, {}, id=f"{entry}-plain") for entry in FAMILIES.values()),
        *(pytest.param(entry, AVERAGED, id=entry) for entry in MOVING),
    ],
)
def test_a_resumed_run_is_bit_for_bit_one_that_never_stopped(
    entry: str,
    settings: dict[str, Any],
    fitting: Callable[[str], Dataset],
    judging: Callable[[Dataset], Judge],
    tmp_path: Path,
) -> None:
    config, dataset = small(entry, **settings), fitting(entry)
    judge = judging(dataset)
    whole = trained(config, dataset, judge, tmp_path / "whole")
    cut = []
    for stop in (1, 2, 9):  # closed after the first tick, then after two more, then left to end
        ticks = fit(config, dataset, device=CPU, judge=judge, home=home(tmp_path / "cut"))
        for count, tick in enumerate(ticks, 1):
            cut.append(tick)
            torch.randn(3)  # others use the generator too
            if count == stop:
                ticks.close()
    assert [tick.tick for tick in cut] == [1, 2, 3, 4]
    for one, other in zip(whole, cut, strict=True):
        assert {k: v for k, v in one.metrics.items() if "engine/" not in k} == {
            k: v for k, v in other.metrics.items() if "engine/" not in k
        }
        assert one.evals == other.evals
    pictured = {side: (tmp_path / side / "experiment" / "samples").is_dir() for side in ("whole", "cut")}
    assert pictured["whole"] == pictured["cut"]
    for table in ("metrics", "evals", *(["samples"] if pictured["whole"] else []), "runs", "settings"):
        pandas.testing.assert_frame_equal(rows(tmp_path / "whole", table), rows(tmp_path / "cut", table))
    one, other = (weights(tmp_path / side, config, dataset) for side in ("whole", "cut"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_grown_budget_goes_on_and_a_finished_run_is_left_alone(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    config = small("vae_mlp")
    trained(config, digits, judge, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.p*")}
    (again,) = trained(config, digits, judge, tmp_path)
    assert (again.ended, again.why) == ("finished", "4 epochs")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.p*")} == before
    grown = override(config, {"budget.epochs": 6})
    assert [tick.tick for tick in trained(grown, digits, judge, tmp_path)] == [5, 6]
    metrics = rows(tmp_path, "metrics")
    assert not metrics.duplicated(["tick", "name"]).any()
    assert sorted(metrics.tick.unique()) == [1, 2, 3, 4, 5, 6]
    assert sorted(rows(tmp_path, "outcomes").epochs) == [4.0, 6.0]
    trained(grown, digits, judge, tmp_path / "once")
    one, other = (weights(place, config, digits) for place in (tmp_path, tmp_path / "once"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_grown_run_that_got_no_better_is_not_measured_again(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    """The bound falls here with every epoch, or with a rate of 0 never: then the first epoch's weights are the best."""
    for rate, ends in ((1e-3, [2.0, 4.0]), (0.0, [1.0])):
        place = tmp_path / str(rate)
        config = small("vae_mlp", **{"budget.epochs": 2, "model.optimizer.rate": rate})
        trained(config, digits, judge, place)
        grown = override(config, {"budget.epochs": 4})
        assert trained(grown, digits, judge, place)[-1].ended == "finished"
        evals = rows(place, "evals")
        best = evals[evals["scope"] == "best"]
        assert sorted(best["epoch"].unique()) == ends
        assert not best.duplicated(["epoch", "protocol"]).any()
        board = results.leaderboard(str(place), "experiment", "bound/images")
        assert (board["epochs"][0], board["best_epoch"][0]) == (4.0, ends[-1])
        assert board["rank"][0] == 1


def test_a_stopped_run_says_why_and_keeps_its_best_weights_only(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    config = small("vae_mlp")
    ticks = fit(config, digits, device=CPU, judge=judge, home=home(tmp_path, keep_last=False))
    next(ticks)
    last = ticks.send("rung 1")
    assert (last.tick, last.ended, last.why) == (1, "stopped", "rung 1")
    assert list(ticks) == []
    outcome = rows(tmp_path, "outcomes").iloc[0]
    assert (outcome.status, outcome.why) == ("stopped", "rung 1")
    folder = tmp_path / "experiment" / "_checkpoints" / identity(config, digits.hash)
    assert [path.name for path in folder.iterdir()] == ["best-000001.pt"]
    state = checkpoint.load_best(Storage(str(tmp_path)), "experiment", folder.name, CPU)
    assert outcome.checkpoint == f"experiment/_checkpoints/{folder.name}/best-000001.pt"
    assert state["value"] == outcome.best
    assert "optimizers" not in state
    model = config.model.build(Shape(*state["shape"]))
    model.load_state_dict(state["weights"])


def test_patience_ends_a_run_that_no_longer_improves(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    config = small("vae_mlp", **{"budget.epochs": 50, "budget.patience": 2, "model.optimizer.rate": 0.0})
    *_, last = trained(config, digits, judge, tmp_path)
    assert (last.tick, last.ended) == (3, "finished")
    assert last.why == "no better bound/images for 2 epochs"
    (again,) = trained(config, digits, judge, tmp_path)
    assert again.tick == 3
    later = override(config, {"budget.patience": 4})
    assert [tick.tick for tick in trained(later, digits, judge, tmp_path)] == [4, 5]


@dataclass(frozen=True)
class Breaks:
    """A config whose model's loss is NaN from some call on."""

    calls: int = 50
    optimizer: Adam = field(default_factory=Adam)

    def build(self, shape: Shape) -> Model:
        return Breaking(self)


class Breaking(Model, Reconstructs):
    def __init__(self, config: Breaks) -> None:
        super().__init__()
        self.config, self.weight = config, nn.Parameter(torch.ones(1))
        self.register_buffer("calls", torch.zeros(1))

    def phases(self) -> list[Phase]:
        return [Phase("only", self, self.loss, self.config.optimizer)]

    def loss(self, batch: Batch) -> tuple[Tensor, Logs]:
        self.calls += 1
        bad = torch.where(self.calls > self.config.calls, torch.nan, 0.0).sum()
        return self.weight.square().sum() + bad, {"harmless": self.weight.sum()}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": batch["image"] * self.weight}


def test_what_is_not_finite_ends_the_run_by_name_and_keeps_the_last_good_checkpoint(
    digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    config = RunConfig("breaks", "test", Breaks())
    config = override(config, {**SMALL, "train.batch": 64})  # 21, 41, 61, 81 steps
    *good, last = trained(config, digits, judge, tmp_path)
    assert [tick.ended for tick in good] == ["", ""]
    assert (last.ended, last.why) == ("failed", "only/loss is not finite at step 50")
    outcome = rows(tmp_path, "outcomes").iloc[0]
    assert outcome.status == "failed"
    assert "only/loss" in outcome.why
    assert all(value.isfinite().all() for value in weights(tmp_path, config, digits).values())
    state = checkpoint.load(
        Storage(str(tmp_path)), f"{checkpoint.folder('experiment', identity(config, digits.hash))}/last.pt", CPU
    )
    assert state is not None
    assert state["progress"]["tick"] == 2


def test_the_best_weights_are_kept_not_the_last(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    """Gradient descent drives the weight from 1, the best reconstruction, towards 0."""
    config = override(RunConfig("breaks", "test", Breaks(calls=10**6)), {**SMALL, "model.optimizer.rate": 0.01})
    ticks = trained(config, digits, judge, tmp_path)
    assert ticks[-1].value > ticks[0].value == ticks[-1].best
    evals = rows(tmp_path, "evals")
    full = evals[(evals.scope == "best") & (evals.split == "validation") & (evals.metric == "mse")]
    assert full.value.iloc[0] == pytest.approx(ticks[0].value, rel=1e-2)
    assert full.epoch.iloc[0] == 1.0


def test_weights_below_the_floor_are_the_worst_and_still_kept(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    config = small("vqvae", **{"evaluate.least": 2.0})  # a share of codes that none reaches
    ticks = trained(config, digits, judge, tmp_path)
    assert [tick.value for tick in ticks] == [1e30] * 4
    assert ticks[-1].best == 1e30
    assert ticks[-1].why == "4 epochs; used/images was never 2, so it ranks last"
    assert rows(tmp_path, "outcomes")["why"].item() == ticks[-1].why
    evals = rows(tmp_path, "evals")
    assert evals[evals.metric == "mse"].value.max() < 4  # figures stay what was measured
    board = results.leaderboard(str(tmp_path), "experiment")
    assert board["rank"].isna().all()
    assert board["value"].max() < 4
    assert trained(small("vqvae"), digits, judge, tmp_path / "above")[0].value < 4
    with pytest.raises(ValueError, match=r"evaluate.floor='used/images' is not measured for vae_mlp"):
        next(fit(small("vae_mlp", **{"evaluate.floor": "used/images"}), digits, device=CPU, judge=judge))


def test_a_damaged_checkpoint_is_one_clear_line(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    config = small("vae_mlp")
    trained(config, digits, judge, tmp_path)
    (last,) = tmp_path.rglob("last.pt")
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is not a checkpoint") as error:
        trained(config, digits, judge, tmp_path)
    assert "\n" not in str(error.value)


def test_an_unknown_metric_is_refused_with_the_ones_there_are(digits: Dataset, judge: Judge) -> None:
    with pytest.raises(ValueError, match="allowed: mse/reconstructions"):
        next(fit(small("vqvae", **{"evaluate.metric": "fid/fakes"}), digits, device=CPU, judge=judge))


def test_a_direction_that_contradicts_the_metric_is_refused(digits: Dataset, judge: Judge) -> None:
    """Each metric has its own; one that is said once more must be that one."""
    wrong = {"bound/images": "max", "": "max", "psnr/reconstructions": "min", "active_units/images": "min"}
    for metric, mode in wrong.items():
        config = small("vae_mlp", **{"evaluate.metric": metric, "evaluate.mode": mode})
        size = "small" if mode == "max" else "large"
        message = rf"^mode={mode} contradicts the metric: of {metric or 'bound/images'} {size} values are good; leave"
        with pytest.raises(ValueError, match=message):
            next(fit(config, digits, device=CPU, judge=judge))
        right = override(config, {"evaluate.mode": "min" if mode == "max" else "max"})
        assert steering(right, judge, build_model(right, digits, CPU)) == (metric or "bound/images")


def test_large_is_good_where_the_metric_says_so(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    """Gradient descent drives the weight from 1, the best reconstruction, towards 0."""
    settings = {**SMALL, "model.optimizer.rate": 0.01, "evaluate.metric": "ssim/reconstructions"}
    ticks = trained(override(RunConfig("breaks", "test", Breaks(10**6)), settings), digits, judge, tmp_path)
    assert ticks[-1].value < ticks[0].value == ticks[-1].best


@pytest.mark.slow
@pytest.mark.parametrize("entry", ZOO)
def test_a_tick_measures_what_steers_and_what_is_cheap_and_the_end_everything(
    entry: str, fitting: Callable[[str], Dataset], judging: Callable[[Dataset], Judge], tmp_path: Path
) -> None:
    config, dataset = small(entry, **{"budget.epochs": 2}), fitting(entry)
    judge = judging(dataset)
    ticks = trained(config, dataset, judge, tmp_path)
    model = build_model(config, dataset, CPU)
    cheap = {steering(config, judge, model), *judge.cheap(model)}
    assert all(set(tick.evals) == cheap for tick in ticks)
    evals = rows(tmp_path, "evals")
    ends = evals[evals.scope == "best"]
    for split in ("validation", "test"):
        ended = ends[ends.split == split]
        columns = ("/" + ended["column"]).where(ended["column"] != "image", "")
        assert set(ended["metric"] + "/" + ended["subject"] + columns) == {
            figure.name for figure in judge.plan(model, split, 10_000, "raw")
        }
    metrics = pandas.read_parquet(tmp_path / "experiment" / "metrics")
    share = metrics[metrics.name == "engine/evaluate_share"]
    assert share.tick.to_list() == [tick.tick for tick in ticks]
    assert share.value.between(0, 1, inclusive="neither").all()


def test_a_tick_measures_a_share_of_what_it_trains_on(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    """By counts, never by clocks: every run of a search measures alike, and so does a run that goes on."""
    config = override(tiny(ZOO["gan_mlp"]), {"budget.epochs": 1, "evaluate.full_images": 80, "evaluate.share": 0.1})
    trained(config, digits, judge, tmp_path)
    evals = rows(tmp_path, "evals")
    length = len(digits.splits["train"][0]["image"])
    assert evals[evals.scope == "tick"].n_fake.to_list() == [length // 10]
    assert evals[(evals.scope == "best") & (evals.metric == "frechet_classifier")].n_fake.to_list() == [80, 80]


@pytest.mark.parametrize(
    ("length", "settings", "images"),
    [
        (1_293, {}, 161),
        (1_293, {"every": 4}, 646),
        (1_293, {"share": 1.0}, 1_000),
        (54_000, {}, 1_000),
        (10, {}, 2),
    ],
)
def test_images_of_a_tick(length: int, settings: dict[str, Any], images: int) -> None:
    assert override(EvaluateConfig(), settings).tick_images(length) == images


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("vae_mlp", {"active_units", "least_rate"}),
        ("vqvae", {"used", "perplexity", "revived"}),
        ("gan_mlp", set()),
    ],
)
def test_an_outcome_tells_of_a_collapse(
    entry: str, names: set[str], digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    """As the last tick had it, whether the run finished or was stopped, and went on from a checkpoint in between."""
    config = small(entry)
    run = fit(config, digits, device=CPU, judge=judge, home=home(tmp_path))
    next(run)
    run.close()
    tick = trained(config, digits, judge, tmp_path)[-1]
    assert set(tick.guards) == names
    (outcome,) = rows(tmp_path, "outcomes").to_dict("records")
    for name in GUARDS:
        if name in names:
            assert outcome[name] == tick.guards[name]
        else:
            assert pandas.isna(outcome[name])
    held_out = {name.partition("/")[0]: value for name, value in tick.evals.items()}
    assert all(tick.guards[name] == held_out[name] for name in names & set(held_out))
    stopping = fit(small(entry, seed=1), digits, device=CPU, judge=judge, home=home(tmp_path))
    first = next(stopping)
    assert set(first.guards) == names
    assert stopping.send("enough").guards == first.guards


def test_where_weights_lie_is_no_part_of_a_run(digits: Dataset) -> None:
    config = small("gan_mlp")
    there = override(config, {"machine.inception_weights": "/some/file.pth"})
    assert identity(there, digits.hash) == identity(config, digits.hash)
    assert identity(override(config, {"evaluate.features": "rotation"}), digits.hash) != identity(config, digits.hash)


@pytest.mark.slow
def test_gen_trains_without_ray(tmp_path: Path) -> None:
    """In a process where Ray cannot be imported."""
    program = """
import sys
sys.modules["ray"] = None
import torch
from gen.config import DataConfig, override
from gen.data.dataset import open_dataset
from gen.engine import Home, fit
from gen.results.storage import Storage
from gen import results
from gen.zoo import ZOO, tiny
config = override(tiny(ZOO["vqvae"]), {"budget.epochs": 1})
dataset = open_dataset(DataConfig("digits"), cache=sys.argv[1] + "/cache")
*_, last = fit(config, dataset, device=torch.device("cpu"), home=Home(Storage(sys.argv[1]), "e", "a"))
assert last.ended == "finished", last
assert len(results.leaderboard(sys.argv[1], "e")) == 1
"""
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
