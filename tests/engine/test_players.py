"""What is watched of a game of players at each tick."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from gen.capabilities import Plays, has
from gen.config import RunConfig, override
from gen.data.dataset import Dataset
from gen.distributed.machine import seed
from gen.distributed.workers import ALONE, Workers
from gen.engine.fit import fit
from gen.engine.players import FAKES, NOISE, Spectator
from gen.judge import Judge
from gen.metrics.variety import variety
from gen.zoo import ZOO, tiny
from tests.fixtures.pair import Pair
from tests.seams.house import stepper

CPU = torch.device("cpu")
SMALL = {"budget.epochs": 2, "evaluate.images": 60, "evaluate.full": "none", "train.batch": 32}
LOGS = {
    "gan_mlp": {"loss", "real", "fake", "accuracy"},
    "lsgan_mlp": {"loss", "real", "fake", "accuracy"},
    "wgan_gp_mlp": {"loss", "real", "fake", "accuracy", "penalty", "game"},
}


def small(entry: str, **settings: Any) -> RunConfig:
    return override(tiny(ZOO[entry]), {**SMALL, **settings}).resolve()


def looks(
    config: RunConfig, dataset: Dataset, steps: int = 0, most: int = 1_000, workers: Workers = ALONE
) -> tuple[Spectator, dict[str, float]]:
    """The spectator of a run, and all that it sees after some steps."""
    trains = stepper(config, dataset, workers)
    for _ in range(steps):
        trains.advance()
    spectator = Spectator(config, dataset, trains, most)
    seen = spectator.held_out()
    with trains.evaluating() as model:
        return spectator, seen | spectator.fakes(model)


@pytest.mark.parametrize("entry", LOGS)
def test_each_tick_logs_every_player(entry: str, digits: Dataset, judge: Judge) -> None:
    for tick in fit(small(entry), digits, device=CPU, judge=judge):
        names = {name for name in tick.metrics if not name.startswith("engine/")}
        norms = {"gradient_norm", "first_gradient_norm", "learning_rate"}
        critic = {*LOGS[entry], *(f"held_out_{name}" for name in LOGS[entry]), *norms}
        generator = {"loss", "fake", "held_out_loss", "variance", "distance", *norms}
        assert names == {f"critic/{name}" for name in critic} | {f"generator/{name}" for name in generator}


def test_who_does_not_play_is_not_watched(digits: Dataset, judge: Judge) -> None:
    (tick, *_) = fit(small("vae_mlp"), digits, device=CPU, judge=judge)
    assert not [name for name in tick.metrics if "held_out" in name or "first" in name or "distance" in name]


def test_held_out_figures_are_those_of_the_fixed_images(digits: Dataset) -> None:
    """Against the losses by hand: whole batches of the first validation images in the split's mixture."""
    spectator, seen = looks(small("lsgan_mlp"), digits, steps=5, most=70)  # two batches of 32
    model, batches = spectator.stepper.model, [spectator._batch(0, 32), spectator._batch(32, 64)]
    assert has(model, Plays)
    real = torch.cat([model.critic(batch["image"]) for batch in batches])
    assert spectator.count == 70
    assert seen["critic/held_out_real"] == pytest.approx(real.mean().item(), rel=1e-5)
    assert 0 < seen["critic/held_out_loss"] < 2
    (first, *_), (second, *_) = (one.unique(dim=0).shape for one in (batches[0]["image"], batches[1]["image"]))
    assert (first, second) == (32, 32), "different images"


def test_a_tick_measures_no_more_than_it_may_and_no_more_than_there_are(digits: Dataset) -> None:
    there = digits.length("validation")
    for asked, most, count in ((20, 60, 20), (256, 60, 60), (4000, 9000, there)):
        spectator, seen = looks(small("gan_mlp", **{"watch.images": asked}), digits, most=most)
        assert spectator.count == count
        assert len(seen) == 7


def test_the_latents_are_the_same_at_every_tick_and_others_for_another_run(digits: Dataset) -> None:
    spectator, seen = looks(small("gan_mlp"), digits)
    torch.manual_seed(99)
    assert {**spectator.held_out(), **spectator.fakes(spectator.stepper.model)} == seen, "the noise is its own"
    assert looks(small("gan_mlp"), digits)[1] == seen
    other, _ = looks(small("gan_mlp", seed=1), digits)
    other.stepper.model.load_state_dict(spectator.stepper.model.state_dict())
    assert other.fakes(other.stepper.model) != spectator.fakes(spectator.stepper.model)


def test_fakes_vary_as_those_of_one_batch_do(digits: Dataset) -> None:
    """Against a batch by hand."""
    spectator, seen = looks(small("gan_mlp", **{"evaluate.batch": 60, "watch.images": 60}), digits, steps=3)
    seed(CPU, NOISE, 0, FAKES, 0)
    fakes = spectator.stepper.model.imitate(spectator._batch(0, 60))["image"]
    variance, distance = variety(fakes.detach())
    assert seen["generator/variance"] == pytest.approx(variance.item())
    assert seen["generator/distance"] == pytest.approx(distance.item())


@pytest.mark.parametrize("settings", [{}, {"train.ema": 0.9}, {"train.precision": "bf16"}])
def test_looking_changes_nothing(settings: dict[str, Any], fitting: Any) -> None:
    """A game with BatchNorm in both players, and noise that fades: no statistic and no count moves."""
    config = small("dcgan", **{"model.augmentation.noise": 0.1, **settings})
    spectator, _ = looks(config, fitting("dcgan"), steps=2)
    before = copy.deepcopy(spectator.stepper.state_dict())
    spectator.held_out()
    with spectator.stepper.evaluating() as model:
        spectator.fakes(model)
    after = spectator.stepper.state_dict()
    assert all(torch.equal(value, after["model"][name]) for name, value in before["model"].items())


def test_the_players_that_play_are_watched_and_the_weights_that_are_kept_make_the_fakes(digits: Dataset) -> None:
    _, raw = looks(small("gan_mlp"), digits, steps=5)
    _, averaged = looks(small("gan_mlp", **{"train.ema": 0.99}), digits, steps=5)
    assert {name for name in raw if raw[name] != averaged[name]} == {"generator/variance", "generator/distance"}


def look_in_group(workers: Workers, dataset: Dataset, entry: str) -> dict[str, float]:
    return looks(small(entry, **{"train.micro_batches": 2, "train.precision": "float64"}), dataset, 3, 60, workers)[1]


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["gan_mlp", "wgan_gp_mlp"])
def test_workers_see_what_one_sees_and_decide_alike(entry: str, digits: Dataset, pair: Pair) -> None:
    one, other = pair.run(look_in_group, digits, entry)
    assert one == other
    assert one == pytest.approx(look_in_group(ALONE, digits, entry), rel=1e-9)


def test_the_first_layer_s_gradient_is_part_of_the_whole(digits: Dataset) -> None:
    trains = stepper(small("wgan_gp_mlp"), digits)
    trains.advance()
    (first,) = (one for one in trains.freezer.players[1].parameters if one is trains.freezer.players[1].first)
    generator = trains.model.get_submodule("generator")
    assert first is generator.get_parameter("0.weight")
    logs = trains.take_logs()
    assert first.grad is not None
    assert logs["generator/first_gradient_norm"] == pytest.approx(first.grad.norm().item())
    assert 0 < logs["critic/first_gradient_norm"] < logs["critic/gradient_norm"]


def test_spectral_norm_hides_no_first_layer(fitting: Any, tmp_path: Path) -> None:
    """Its weights lie in a parametrisation, behind the bias."""
    trains = stepper(small("hinge"), fitting("hinge"))
    first = trains.freezer.players[0].first
    names = {name for name, one in trains.model.named_parameters() if one is first}
    assert names == {"critic.0.parametrizations.weight.original"}
