"""Collapse detectors: as functions of numbers, and by runs that are made to fail in each of the ways."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from gen.config import RunConfig, WatchConfig, identity, override
from gen.data.dataset import Dataset, open_dataset
from gen.engine.collapse import DETECTORS, WORDS, Reading, Scales, Watched, look
from gen.engine.fit import Tick, fit
from gen.judge import Judge
from gen.record import checkpoint
from gen.record.record import Home
from gen.results.board import leaderboard
from gen.results.queries import read
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny
from tests.fixtures.pictures import encoded, write

CPU = torch.device("cpu")
SMALL = {
    "budget.epochs": 6,
    "budget.checkpoint_seconds": 0,
    "evaluate.images": 60,
    "evaluate.full": "none",
    "train.batch": 64,
}
STRONG = {"model.critic_optimizer.rate": 1e-2, "model.networks.critic_width": 64, "model.generator_optimizer.rate": 0}
FAILURES: dict[str, dict[str, Any]] = {  # detector -> settings of a gan_mlp that fails in that way
    "margin": STRONG,
    "vanishing": {**STRONG, "model.objective": "hinge"},  # beyond its margins it has no gradient
    "exploding": {"model.objective": "wasserstein", "model.critic_optimizer.rate": 0.05},  # nothing keeps it Lipschitz
    "variance": {"model.generator_optimizer.rate": 0.01, "model.generator_optimizer.weight_decay": 10},
    "distance": {"model.generator_optimizer.rate": 1, "model.critic_optimizer.rate": 3},
    "recall": {"watch.recall": 0.2, "model.generator_optimizer.rate": 0},
}
HEALTHY = ("gan_mlp", "lsgan_mlp", "wgan_gp_mlp")
GAN = Scales({"critic/loss": (0.0, 1.4)})
FINE = {
    "critic/loss": 1.2,
    "critic/gradient_norm": 1.0,
    "generator/variance": 0.5,
    "generator/distance": 0.4,
    "recall/fakes": 0.3,
}
WORSE = {
    "margin": {"critic/loss": 0.01},
    "vanishing": {"generator/first_gradient_norm": 1e-7},
    "exploding": {"generator/gradient_norm": 101.0},
    "variance": {"generator/variance": 0.05},
    "distance": {"generator/distance": 0.04},
    "recall": {"recall/fakes": 0.1},
}
ASKED = WatchConfig(recall=0.1)


def small(entry: str, **settings: Any) -> RunConfig:
    return override(tiny(ZOO[entry]), {**SMALL, **settings})


def trained(config: RunConfig, dataset: Dataset, judge: Judge, place: Path) -> list[Tick]:
    home = Home(Storage(str(place)), "experiment", "attempt")
    return list(fit(config, dataset, device=CPU, judge=judge, home=home))


def events(place: Path) -> pandas.DataFrame:
    frame = read(str(place), "experiment", "events")
    return frame[frame["kind"] == "collapse"].drop(columns="time").sort_values("why").reset_index(drop=True)


def detectors(place: Path) -> list[str]:
    return [json.loads(detail)["detector"] for detail in events(place)["detail"]]


def watched(ticks: list[dict[str, float]], config: WatchConfig = ASKED) -> list[list[str]]:
    """The detectors whose collapses begin, tick by tick."""
    state, found = Watched(), []
    for number, figures in enumerate(ticks, 1):
        state, begun = look(state, figures, float(number), config, GAN)
        found.append([one.detector for one in begun])
    return found


@pytest.mark.parametrize("detector", WORSE)
def test_a_sign_that_lasts_is_told_once_when_it_has_lasted(detector: str) -> None:
    bad = {**FINE, **WORSE[detector]}
    assert watched([FINE, bad, bad, bad, bad, bad]) == [[], [], [], [detector], [], []]
    assert watched([FINE, bad, bad, FINE, bad, bad, FINE]) == [[]] * 7
    assert watched([FINE, bad], WatchConfig(recall=0.1, ticks=1)) == [[], [detector]]


@pytest.mark.parametrize("detector", WORSE)
def test_each_is_switched_off_by_0(detector: str) -> None:
    worst = {**FINE, **WORSE[detector], "generator/gradient_norm": 1e9 if detector == "exploding" else 1.0}
    config = dataclasses.replace(WatchConfig(recall=0.1, ticks=1), **{detector: 0})
    assert watched([FINE, worst], config) == [[], []]


def test_all_have_words_and_a_setting_of_their_name() -> None:
    assert len(DETECTORS) == len(WORDS) == len(WORSE) == len(FAILURES)
    settings = {field.name for field in dataclasses.fields(WatchConfig)}
    assert set(WORSE) == set(FAILURES) == set(WORDS) == settings - {"images", "ticks", "stop"}


@pytest.mark.parametrize("detector", WORSE)
def test_a_tick_that_lacks_the_figure_tells_nothing(detector: str) -> None:
    """Neither that a sign has gone nor that it lasts, whether the figure is absent or not finite."""
    bad = {**FINE, **WORSE[detector]}
    (name,) = WORSE[detector]
    for gap in ({key: value for key, value in bad.items() if key != name}, {**bad, name: math.nan}):
        if name.endswith("gradient_norm"):
            gap = {key: value for key, value in gap.items() if not key.endswith("gradient_norm") or key == name}
        assert watched([FINE, bad, bad, gap, gap, bad, gap]) == [[], [], [], [], [], [detector], []]


def test_nothing_is_known_at_first() -> None:
    state, begun = look(Watched(), {}, 1.0, WatchConfig(ticks=1), Scales())
    assert (state, begun, state.why) == (Watched(), [], "")
    state, begun = look(Watched(), FINE, 1.0, WatchConfig(ticks=1), GAN)
    assert begun == []
    assert state.highest == {"generator/variance": 0.5, "generator/distance": 0.4}
    assert look(Watched(), {"generator/distance": 0.0}, 1.0, WatchConfig(ticks=1), Scales())[1], "they never differed"


def test_a_fall_is_from_the_highest_value_so_far() -> None:
    at = [{"generator/distance": value} for value in (0.1, 0.3, 0.035, 1.0, 0.11, 0.1)]
    assert watched(at, WatchConfig(ticks=1)) == [[], [], [], [], [], ["distance"]]
    assert watched([{"generator/distance": value} for value in (math.nan, math.inf, 1.0, 0.2)]) == [[]] * 4


def test_what_lasts_is_the_reason_and_what_has_gone_is_not() -> None:
    state, config, bad = Watched(), WatchConfig(ticks=1), {**FINE, "critic/loss": 0.0123}
    for epoch, figures in ((2.0, FINE), (4.0, bad), (6.0, bad)):
        state, _ = look(state, figures, epoch, config, GAN)
    assert state.why == "collapsed at epoch 4: the critic wins: critic/loss is 0.0123, bound 0.028"
    state, _ = look(state, {**bad, "generator/distance": 0.0}, 8.0, config, GAN)
    assert state.why.endswith("bound 0.028; at epoch 8: the fakes are alike: generator/distance is 0, bound 0.04")
    assert "\n" not in state.why
    state, _ = look(state, FINE, 10.0, config, GAN)
    assert state.why == ""
    assert Watched(**json.loads(json.dumps(dataclasses.asdict(state)))) == state, "a checkpoint holds it"


def test_a_critic_that_has_no_least_loss_never_wins_and_one_with_another_wins_near_it() -> None:
    config = WatchConfig(ticks=1)
    assert look(Watched(), {"critic/game": -1e9}, 1.0, config, Scales())[1] == []
    smooth = Scales({"critic/loss": (0.3251, 1.3863)})  # smoothing 0.1
    assert look(Watched(), {"critic/loss": 0.34}, 1.0, config, smooth)[1] == [
        Reading("margin", "critic/loss", 0.34, pytest.approx(0.346324))
    ]
    assert look(Watched(), {"critic/loss": 0.0}, 1.0, config, Scales({"critic/loss": (0.0, 0.0)}))[1] == []


def test_a_loss_that_sums_over_an_image_has_larger_gradients() -> None:
    summed, config = Scales(sums={"encoder": 64}), WatchConfig(ticks=1)
    usual = {"encoder/gradient_norm": 6399.0, "encoder/first_gradient_norm": 300.0, "critic/gradient_norm": 17.0}
    assert look(Watched(), usual, 1.0, config, summed)[1] == []
    for name, bound in (("encoder/gradient_norm", 6400.0), ("critic/gradient_norm", 100.0)):
        (reading,) = look(Watched(), {**usual, name: bound + 1}, 1.0, config, summed)[1]
        assert (reading.figure, reading.bound) == (name, bound)


@pytest.mark.parametrize("detector", FAILURES)
def test_a_run_that_fails_is_told(detector: str, digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    *_, last = trained(small("gan_mlp", **FAILURES[detector]), digits, judge, tmp_path)
    assert detector in detectors(tmp_path)
    row = events(tmp_path).iloc[detectors(tmp_path).index(detector)]
    told = json.loads(row["detail"])
    assert 3 <= row["tick"] == row["epoch"] <= 6
    assert row["why"].startswith(f"{WORDS[detector]}: {told['figure']} is ")
    assert row["value"] >= told["bound"] if detector == "exploding" else row["value"] <= told["bound"]
    outcome = read(str(tmp_path), "experiment", "outcomes").iloc[0]
    assert (outcome["status"], outcome["tick"]) == ("finished", 6), "a run goes on unless it is told to stop"
    assert outcome["why"] == last.why
    assert last.why == f"6 epochs; collapsed at {last.collapsed}"
    assert outcome["collapsed"] == last.collapsed
    assert leaderboard(str(tmp_path), "experiment")["collapsed"].to_list() == [last.collapsed]
    assert f"at epoch {row['epoch']:g}: {row['why']}" in last.why


@pytest.mark.parametrize("entry", HEALTHY)
def test_a_healthy_run_is_left_alone(entry: str, digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    settings = {"watch.stop": True, "budget.epochs": 12, "watch.ticks": 1}
    *_, last = trained(small(entry, **settings), digits, judge, tmp_path)
    assert (last.ended, last.why, last.collapsed) == ("finished", "12 epochs", "")
    assert read(str(tmp_path), "experiment", "outcomes")["collapsed"].isna().all()
    assert events(tmp_path).empty


@pytest.mark.parametrize("detector", ["margin", "distance"])
def test_a_run_that_is_to_stop_ends_and_keeps_its_best_weights(
    detector: str, digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    config = small("gan_mlp", **{**FAILURES[detector], "watch.stop": True})
    *_, last = trained(config, digits, judge, tmp_path)
    (row,) = events(tmp_path).to_dict("records")
    assert (last.ended, last.tick) == ("stopped", row["tick"])
    assert last.why == f"collapsed at epoch {row['epoch']:g}: {row['why']}"
    outcome = read(str(tmp_path), "experiment", "outcomes").iloc[0]
    assert (outcome["status"], outcome["why"]) == ("stopped", last.why)
    best = checkpoint.load_best(Storage(str(tmp_path)), "experiment", identity(config, digits.hash), CPU)
    assert best["value"] == last.best == outcome["best"]
    assert best["tick"] <= last.tick
    (again,) = trained(config, digits, judge, tmp_path)
    assert (again.ended, again.why) == ("stopped", last.why), "it has ended for good"


@pytest.mark.slow
@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("detector", FAILURES)
def test_a_resumed_run_decides_as_one_that_never_stopped(
    detector: str, stop: bool, digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    config = small("gan_mlp", **{**FAILURES[detector], "watch.stop": stop})
    whole = trained(config, digits, judge, tmp_path / "whole")
    for _ in whole:  # closed after each tick
        ticks = fit(
            config, digits, device=CPU, judge=judge, home=Home(Storage(str(tmp_path / "cut")), "experiment", "a")
        )
        last = next(ticks)
        ticks.close()
    assert (last.tick, last.ended, last.why) == (whole[-1].tick, whole[-1].ended, whole[-1].why)
    one, other = (events(tmp_path / side).drop(columns="attempt") for side in ("whole", "cut"))
    pandas.testing.assert_frame_equal(one, other)


def test_a_collapse_is_told_where_a_run_ends_for_another_reason(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    config = small("gan_mlp", **FAILURES["margin"])
    ticks = fit(config, digits, device=CPU, judge=judge, home=Home(Storage(str(tmp_path)), "experiment", "attempt"))
    for tick in ticks:
        if tick.tick == 5:
            last = ticks.send("rung 1")
    assert last.why.startswith("rung 1; collapsed at epoch 4: the critic wins: ")


def test_recall_is_refused_where_it_is_not_measured(digits: Dataset, judge: Judge) -> None:
    for config in (small("vae_mlp", **{"watch.recall": 0.1}), small("vqvae", **{"watch.recall": 0.1})):
        with pytest.raises(ValueError, match=r"^watch.recall=0.1 needs .* allowed: 0, which leaves recall out$"):
            next(fit(config, digits, device=CPU, judge=judge))


MISSED = {"model.generator_optimizer.rate": 0, "evaluate.full_images": 60, "budget.epochs": 2}  # it makes noise


def test_full_figures_tell_of_a_collapse_that_no_tick_tells(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    *_, last = trained(small("gan_mlp", **{**MISSED, "evaluate.full": "all"}), digits, judge, tmp_path)
    (row,) = events(tmp_path).to_dict("records")
    epoch = json.loads(row["detail"])["epoch"]
    assert row["why"].startswith("the fakes miss most images: recall/fakes is 0, bound 0.01")
    assert last.collapsed == f"epoch {epoch:g}: {row['why']}"
    assert (last.ended, last.why) == ("finished", f"2 epochs; collapsed at {last.collapsed}")
    outcome = read(str(tmp_path), "experiment", "outcomes").iloc[0]
    assert (outcome["collapsed"], outcome["best_epoch"]) == (last.collapsed, epoch)
    assert leaderboard(str(tmp_path), "experiment")["collapsed"].to_list() == [last.collapsed]


def test_figures_that_are_measured_later_tell_it_too(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    config = small("gan_mlp", **MISSED)
    *_, last = trained(config, digits, judge, tmp_path)
    assert (last.why, last.collapsed) == ("2 epochs", "")
    assert leaderboard(str(tmp_path), "experiment")["collapsed"].isna().all()
    trained(override(config, {"evaluate.full": "all"}), digits, judge, tmp_path)
    (told,) = leaderboard(str(tmp_path), "experiment")["collapsed"]
    assert "the fakes miss most images: recall/fakes is 0, bound 0.01" in told


def test_what_was_measured_of_weights_that_are_no_longer_the_best_is_not_told(
    digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    """After one epoch the fakes are noise still; then they get better."""
    config = small("gan_mlp", **{"evaluate.full": "all", "evaluate.full_images": 60, "budget.epochs": 1})
    *_, last = trained(config, digits, judge, tmp_path)
    assert last.collapsed
    home = Home(Storage(str(tmp_path)), "experiment", "later")
    more = override(config, {"budget.epochs": 12})
    ticks = fit(more, digits, device=CPU, judge=judge, home=home)
    for tick in ticks:
        if tick.tick > 1 and tick.best < last.best:
            last = ticks.send("enough")
    assert (last.ended, last.why, last.collapsed) == ("stopped", "enough", "")


def test_a_model_that_plays_no_game_does_not_collapse(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    settings = {"model.optimizer.rate": 1e-9, "evaluate.full": "all", "evaluate.full_images": 60, "budget.epochs": 1}
    *_, last = trained(small("vae_mlp", **settings), digits, judge, tmp_path)
    full = read(str(tmp_path), "experiment", "evals", {"scope": "best", "split": "validation"})
    assert full.set_index("metric")["value"]["recall"] <= 0.01
    assert (last.why, last.collapsed) == ("1 epochs", "")
    assert events(tmp_path).empty


MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "MNIST" / "raw"  # beside the project


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason="there is no ../shared/data with MNIST beside the project")
def test_a_run_on_mnist_says_that_it_collapsed(tmp_path: Path) -> None:
    """`gan_mlp` as it is, on few images and for few epochs: it was "finished" and no more."""
    raw = (gzip.decompress((MNIST / f"train-{name}-ubyte.gz").read_bytes()) for name in ("images-idx3", "labels-idx1"))
    pixels, labels = (np.frombuffer(data, dtype=np.uint8) for data in raw)
    images = pixels[16 : 16 + 1_000 * 28 * 28].reshape(-1, 28, 28)
    held = {f"train/{labels[8 + n]}/{n}.png": encoded(Image.fromarray(one)) for n, one in enumerate(images)}
    few = write(tmp_path / "few.zip", held)
    settings = {"data.name": f"images:{few}", "budget.epochs": 6, "evaluate.full_images": 200}
    config = override(ZOO["gan_mlp"], settings)
    home = Home(Storage(str(tmp_path / "results")), "experiment", "attempt")
    *_, last = fit(config, open_dataset(config.data, cache=str(tmp_path / "cache")), device=CPU, home=home)
    assert last.ended == "finished"
    assert "the fakes miss most images: recall/fakes is 0, bound 0.01" in last.collapsed
    assert last.why == f"6 epochs; collapsed at {last.collapsed}"
    outcome = read(home.storage, "experiment", "outcomes").iloc[0]
    assert (outcome["collapsed"], outcome["why"]) == (last.collapsed, last.why)
    assert leaderboard(home.storage, "experiment")["collapsed"].to_list() == [last.collapsed]
