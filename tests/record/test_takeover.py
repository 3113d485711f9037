"""A run that goes on from the state of another: with its own name, epochs, noise and best weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gen.config import RunConfig, identity, override, to_json
from gen.data.dataset import Dataset
from gen.distributed.workers import ALONE
from gen.engine.fit import Run, fit
from gen.judge import Judge
from gen.record import checkpoint, takeover
from gen.record.record import Home
from gen.record.takeover import Exploit
from gen.results import Storage, queries
from tests.engine.test_fit import CPU, small

NAME = "search"
CHANGED = {"model.generator_optimizer.rate": 3e-4, "model.critic_optimizer.beta1": 0.3, "model.objective.a": -0.5}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def member(seed: int) -> RunConfig:
    more = {"budget.epochs": 3, "seed": seed, "train.ema": 0.9, "evaluate.full": "none"}
    return small("lsgan_mlp", **more, **{"model.generator_optimizer.rate": 1e-3 * (seed + 1)}).resolve()


def home(storage: Storage, config: RunConfig, digits: Dataset, taken: Exploit | None = None) -> Home:
    return Home(storage, NAME, "attempt", run=identity(config, digits.hash), taken=taken)


def train(storage: Storage, config: RunConfig, digits: Dataset, judge: Judge, until: int, taken: Exploit | None = None):
    """Up to a tick, then it gives its slot away."""
    ticks = fit(config, digits, device=CPU, judge=judge, home=home(storage, config, digits, taken))
    for tick in ticks:
        if tick.tick == until:
            ticks.close()
    return tick


def state(storage: Storage, run: str, name: str = "last.pt") -> dict:
    found = checkpoint.load(storage, f"{checkpoint.folder(NAME, run)}/{name}", CPU)
    assert found is not None
    return found


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_run_takes_over(storage: Storage, digits: Dataset, judge: Judge) -> None:
    loser, winner = member(0), member(1)
    run, source = (identity(one, digits.hash) for one in (loser, winner))
    for one in (loser, winner):
        train(storage, one, digits, judge, 1)
    before = state(storage, run)
    takeover.store(storage, NAME, run, source, 1)
    first = storage.get(f"{checkpoint.folder(NAME, run)}/taken-000001.pt")
    takeover.store(storage, NAME, run, source, 1)  # as after a kill
    assert storage.get(f"{checkpoint.folder(NAME, run)}/taken-000001.pt") == first
    storage.delete(f"{checkpoint.folder(NAME, source)}/last.pt")  # nobody needs it
    taken = Exploit(1, CHANGED)
    begun = Run(loser, digits, CPU, ALONE, home(storage, loser, digits, taken), judge)
    theirs = state(storage, run, "taken-000001.pt")["stepper"]
    assert same(begun.stepper.model.state_dict(), theirs["model"])
    assert begun.stepper.average is not None
    own = begun.stepper.average.state_dict()["weights"]
    assert all(torch.equal(one, other) for one, other in zip(own, theirs["average"]["weights"], strict=True))
    critic, generator = begun.stepper.optimizers
    assert {group["betas"] for group in critic.param_groups} == {(0.3, 0.999)}
    assert {group["betas"] for group in generator.param_groups} == {(0.5, 0.999)}
    mine = generator.state_dict()["state"]
    assert all(
        torch.equal(mine[key]["exp_avg"], value["exp_avg"]) for key, value in theirs["optimizers"][1]["state"].items()
    )
    assert begun.stepper.seed == 0  # its own noise
    assert begun.progress.best == before["progress"]["best"]  # of its own weights
    assert begun.progress.last != before["progress"]["last"]
    begun.stepper.advance()
    assert {group["lr"] for group in generator.param_groups} == {3e-4}
    last = train(storage, loser, digits, judge, 2, taken)
    assert last.epoch == 2.0
    assert last.metrics["generator/learning_rate"] == 3e-4
    assert state(storage, run)["config"] == to_json(loser)  # what it began with, by which it is named
    assert not [name for name in storage.list(checkpoint.folder(NAME, run)) if name.startswith("taken-")]
    again = train(storage, loser, digits, judge, 3, taken)  # from its own state now
    assert (again.tick, again.ended) == (3, "finished")
    wide = queries.settings(storage, NAME).set_index("run")
    assert wide.loc[run, "model.generator_optimizer.rate"] == 1e-3
    other = override(loser, CHANGED)
    assert identity(other, digits.hash) != run


def test_a_state_that_is_gone_is_said(storage: Storage, digits: Dataset, judge: Judge) -> None:
    loser, winner = member(0), member(1)
    run, source = (identity(one, digits.hash) for one in (loser, winner))
    train(storage, loser, digits, judge, 1)
    with pytest.raises(ValueError, match=rf"{source}/last.pt is not there, and the population stands at tick 1; "):
        takeover.store(storage, NAME, run, source, 1)
    train(storage, winner, digits, judge, 2)
    with pytest.raises(ValueError, match=rf"{source}/last.pt is of tick 2, and the population stands at tick 1; "):
        takeover.store(storage, NAME, run, source, 1)
    with pytest.raises(ValueError, match=rf"{run}/taken-000001.pt, from which the run goes on, is gone; put it back"):
        train(storage, loser, digits, judge, 2, Exploit(1, {}))
