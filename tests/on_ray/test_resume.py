"""An interrupted search takes the decisions that the uninterrupted one takes: synthetic runs, real tables."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from gen import results
from gen.config import override
from gen.on_ray.replay import decisions, ends
from gen.on_ray.scheduler import RecordedHalving
from gen.zoo import ZOO
from tests.fixtures.examples import examples

EPOCHS, RUNS = 9, 8
CONFIG = override(ZOO["vqvae"], {"budget.epochs": EPOCHS})


def curve(seed: int, run: int) -> list[float]:
    """What a run measures at each epoch: it falls, may collapse late, and may cease to be finite."""
    draw = np.random.default_rng([seed, run])
    values = draw.choice([0.5, 1.0, 2.0]) * np.exp(-draw.uniform(0, 0.5) * np.arange(EPOCHS)) + draw.choice([0, 0.1])
    if draw.random() < 0.3:
        values[draw.integers(EPOCHS) :] *= 10
    if draw.random() < 0.2:
        values[draw.integers(EPOCHS) :] = math.nan
    return [float(value) for value in values.round(2)]  # so there are ties


class Search:
    """One submission: a scheduler, and trials that report in an order that is given."""

    def __init__(self, place: Path, seed: int, reached: dict[str, int], seeds: int = 1) -> None:
        self.storage = results.Storage(str(place))
        self.attempt = results.new_attempt()
        self.curves = {f"run{run}": curve(seed, run) for run in range(RUNS)}
        configs = dict.fromkeys(self.curves, CONFIG)
        on_record = ends(self.storage, "search", configs)
        past = [one for one in decisions(self.storage, "search") if one.run in on_record or one.decision != "end"]
        slot = results.Slot(self.storage, "search", f"{self.attempt}-scheduler")
        self.scheduler = RecordedHalving(
            slot, "search", self.attempt, "min", EPOCHS, 1, 3, past, configurations=seeds_of(seeds)
        )
        self.outcomes = results.Slot(self.storage, "search", f"{self.attempt}-slot")
        self.over = set(on_record)
        self.reached = reached  # run -> epochs trained: those in its checkpoint when the search begins

    def standing(self, runs: Sequence[str]) -> None:
        """Runs that go on first tell again where they stand."""
        for run in runs:
            if run not in self.over and self.reached.get(run):
                self.report(run, self.reached[run])

    def tick(self, run: str) -> None:
        """The run's next epoch, if it still runs."""
        if run not in self.over:
            self.reached[run] = self.reached.get(run, 0) + 1
            self.report(run, self.reached[run])

    def report(self, run: str, epoch: int, killed: bool = False) -> None:
        values = self.curves[run][:epoch]
        finite = [value for value in values if math.isfinite(value)]
        result = {"run": run, "tick": epoch, "epoch": float(epoch), "last": values[-1], "seconds": float(epoch)}
        result["value"] = min(finite, default=math.nan)
        trial = Trial("Resident", stub=True)
        if epoch == EPOCHS:
            self.scheduler.on_trial_complete(None, trial, result)
            self.close(result, "finished")
        elif self.scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP and not killed:
            self.close(result, "stopped")

    def close(self, result: dict, status: str) -> None:
        self.over.add(result["run"])
        row = {"experiment": "search", "run": result["run"], "attempt": self.attempt, "tick": result["tick"]}
        row |= {"status": status, "why": "", "metric": "mse/reconstructions", "best": result["value"]}
        row |= {
            "best_epoch": 1.0,
            "last": result["last"],
            "checkpoint": None,
            "epochs": result["epoch"],
            "steps": 1,
            "images": 1,
        }
        row |= {"seconds": result["seconds"], "images_per_second": None, "parameters": 1, "ended": datetime.now(UTC)}
        self.outcomes.extend({"outcomes": [row]})

    def taken(self) -> list[tuple]:
        rows = results.events(self.storage, "search", kind="rung").sort_values("time", kind="stable")
        return [
            (row["run"], row["epoch"], row["decision"], repr(row["value"]), row["why"], row["detail"])
            for row in rows.to_dict("records")
        ]

    def ended(self) -> list[tuple]:
        rows = results.outcomes(self.storage, "search", all_ends=True)
        return sorted(zip(rows["run"], rows["status"], rows["epochs"], strict=True))


def seeds_of(seeds: int) -> dict[str, str]:
    """Run -> its configuration, of so many runs."""
    return {f"run{run}": f"run{run // seeds}" for run in range(RUNS)} if seeds > 1 else {}


ORDERS = st.permutations([f"run{run}" for run in range(RUNS) for _ in range(EPOCHS)])


@given(order=ORDERS, seed=st.integers(0, 10**6), seeds=st.sampled_from([1, 2]), data=st.data())
@settings(max_examples=examples(15))
def test_an_interrupted_search_decides_as_one_that_never_was(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], seed: int, seeds: int, data: st.DataObject
):
    whole = Search(tmp_path_factory.mktemp("whole"), seed, {}, seeds)
    for run in order:
        whole.tick(run)
    place = tmp_path_factory.mktemp("cut")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(order) - 1), max_size=3), label="interrupted after"))
    reached: dict[str, int] = {}
    for begin, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        search = Search(place, seed, reached, seeds)
        search.standing(list(reached))
        for run in order[begin:end]:
            search.tick(run)
        if end in cuts:  # some lose what their last checkpoint does not hold, and train it again first
            lost = data.draw(st.sets(st.sampled_from(sorted(reached))), label="killed")
            told = dict(reached)
            reached = {run: 0 if run in lost else epoch for run, epoch in told.items()}
            search = Search(place, seed, reached, seeds)
            for run in sorted(lost):
                for _ in range(told[run]):
                    search.tick(run)
    assert search.taken() == whole.taken()
    assert search.ended() == whole.ended()
    assert len(search.ended()) == RUNS  # each run once


@pytest.mark.parametrize("saved", [0, 1])
def test_a_run_killed_between_decision_and_outcome_is_stopped_there(tmp_path: Path, saved: int):
    """Whether its checkpoint holds the epoch at which it was stopped or none."""
    search = Search(tmp_path, 0, {})
    search.curves = {"run0": [1.0] * EPOCHS, "run1": [2.0] * EPOCHS}
    search.tick("run0")
    search.report("run1", 1, killed=True)
    taken = search.taken()
    assert taken[-1][:3] == ("run1", 1.0, "stop")
    again = Search(tmp_path, 0, {"run1": saved})
    again.curves = search.curves
    again.standing(["run1"])
    again.tick("run1")
    assert again.taken() == taken
    assert again.ended() == [("run1", "stopped", 1.0)]


def test_a_larger_budget_judges_those_that_finished_at_its_rungs(tmp_path: Path):
    """What finished under the old budget goes on as one of the others: it is compared at its last epoch too."""
    old = {f"run{run}": [run + 1.0] * EPOCHS for run in range(RUNS)}
    search = Search(tmp_path, 0, {})
    search.curves = old
    for run in sorted(old, reverse=True)[:3]:  # the worst first, so that all finish
        for _ in range(EPOCHS):
            search.tick(run)
    assert [end[1] for end in search.ended()] == ["finished"] * 3
    grown = override(CONFIG, {"budget.epochs": 27})
    assert set(ends(search.storage, "search", dict.fromkeys(old, CONFIG))) == {"run5", "run6", "run7"}
    assert ends(search.storage, "search", dict.fromkeys(old, grown)) == {}
    kept = [one for one in decisions(search.storage, "search") if one.decision != "end"]
    slot = results.Slot(search.storage, "search", "grown-scheduler")
    again = RecordedHalving(slot, "search", "grown", "min", 27, 1, 3, kept)
    report = {"tick": EPOCHS, "epoch": float(EPOCHS), "last": 0.0, "seconds": 1.0}
    told = [
        again.on_trial_result(None, None, report | {"run": run, "value": old[run][-1]})
        for run in ("run5", "run6", "run7")
    ]
    assert told == [TrialScheduler.CONTINUE, TrialScheduler.STOP, TrialScheduler.STOP]
