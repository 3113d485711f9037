"""Successive halving: decisions on record before they take effect, and no value that escapes them."""

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from gen import results
from gen.config import override
from gen.on_ray.replay import configurations, decisions
from gen.on_ray.scheduler import RecordedHalving
from gen.search.halving import Decision
from gen.zoo import ZOO
from tests.fixtures.examples import examples

CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP
ATTEMPTS = itertools.count()


class Search:
    """A scheduler with trials that report to it, on real tables."""

    def __init__(
        self,
        folder: Path,
        mode: str = "min",
        history: list[Decision] | None = None,
        epochs: int = 9,
        configurations: dict[str, str] | None = None,
    ) -> None:
        self.place = str(folder)
        attempt = f"attempt-{next(ATTEMPTS):06d}"
        slot = results.Slot(results.Storage(self.place), "search", f"{attempt}-scheduler")
        self.scheduler = RecordedHalving(
            slot, "search", attempt, mode, epochs, 1, 3, history or [], configurations=configurations
        )
        self.trials: dict[str, Trial] = {}

    def trial(self, run: str) -> Trial:
        if run not in self.trials:
            self.trials[run] = Trial("Resident", stub=True)
            self.scheduler.on_trial_add(None, self.trials[run])
        return self.trials[run]

    def report(self, run: str, epoch: float, best: float | None, last: float | None = 0.0, seconds: float = 1.0) -> str:
        return self.scheduler.on_trial_result(None, self.trial(run), said(run, epoch, best, last, seconds))

    def end(self, run: str, epoch: float, best: float, last: float = 0.0) -> None:
        self.scheduler.on_trial_complete(None, self.trial(run), said(run, epoch, best, last, 1.0))

    def events(self) -> list[dict]:
        return results.events(self.place, "search", kind="rung").to_dict("records")


def said(run: str, epoch: float, best: float | None, last: float | None, seconds: float) -> dict:
    return {"run": run, "tick": int(epoch), "epoch": epoch, "value": best, "last": last, "seconds": seconds}


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_losers_stop_and_every_decision_is_on_record(tmp_path: Path, mode: str, sign: int):
    search = Search(tmp_path, mode)
    assert search.report("a", 1, sign * 1.0) == CONTINUE
    assert search.report("b", 1, sign * 2.0) == STOP
    assert search.report("c", 1, sign * 0.5) == CONTINUE
    assert search.report("a", 2, sign * 5.0) == CONTINUE  # no rung
    assert [(row["run"], row["decision"], row["value"]) for row in search.events()] == [
        ("a", "continue", sign * 1.0),
        ("b", "stop", sign * 2.0),
        ("c", "continue", sign * 0.5),
    ]
    details = [json.loads(row["detail"]) for row in search.events()]
    assert [detail["rung"] for detail in details] == [1, 1, 1]
    assert details[0]["cutoff"] is None
    assert details[1]["cutoff"] == pytest.approx(sign * 1.0)


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12), mode=st.sampled_from(["min", "max"]))
@settings(max_examples=examples(60))
def test_without_ties_and_with_finite_values_it_decides_as_rays_own(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], mode: str
):
    search = Search(tmp_path_factory.mktemp("search"), mode)
    theirs = ASHAScheduler("epoch", "value", mode, max_t=9, grace_period=1, reduction_factor=3, stop_last_trials=False)
    for number, value in enumerate(sorted(set(values), key=values.index)):
        trial = search.trial(str(number))
        theirs.on_trial_add(None, trial)
        own = search.report(str(number), 1, value)
        other = theirs.on_trial_result(None, trial, {"epoch": 1, "value": value})
        cutoff = json.loads(search.events()[-1]["detail"])["cutoff"]
        edge = cutoff is not None and math.isclose(cutoff, value, rel_tol=1e-9, abs_tol=1e-12)
        assert own == other or edge


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_not_finite_ends_its_trial_and_counts_as_the_worst(tmp_path: Path, value: float | None):
    search = Search(tmp_path)
    assert search.report("a", 1, value, value) == STOP
    assert search.report("b", 1, 1e6) == CONTINUE  # better than what is not finite
    assert search.report("c", 1, 1e6) == CONTINUE
    assert search.report("d", 1, 2e6) == STOP  # whatever lies below: the worst is a place and no number
    assert search.report("b", 2, 1e6, value) == STOP  # between rungs too, whatever it was before
    assert "not finite" in search.events()[0]["why"]
    assert [row["run"] for row in search.events() if row["decision"] == "stop"] == ["a", "d", "b"]


def test_among_equal_values_the_cheaper_run_goes_on(tmp_path: Path):
    search = Search(tmp_path)
    assert search.report("a", 1, 1.0, seconds=10.0) == CONTINUE
    assert search.report("dear", 1, 1.0, seconds=11.0) == STOP
    assert search.report("cheap", 1, 1.0, seconds=9.0) == CONTINUE
    assert search.report("better", 1, 0.9, seconds=99.0) == CONTINUE
    assert "in fewer seconds" in search.events()[1]["why"]


def test_a_late_collapse_does_not_hide_a_good_model(tmp_path: Path):
    """A report holds the best so far: at epoch 3 the run that was good at 2 stays before those that are better now."""
    search = Search(tmp_path)
    for run, best, last in (("collapsed", 0.1, 50.0), ("steady", 0.2, 0.2)):
        search.report(run, 1, best)
        decision = search.report(run, 3, best, last)
        assert (run, decision) in (("collapsed", CONTINUE), ("steady", STOP))


def test_a_late_value_fills_no_earlier_rung(tmp_path: Path):
    search = Search(tmp_path)
    search.report("late", 3, 1.0)
    search.report("late", 4, 0.1)
    assert search.report("first", 1, 7.0) == CONTINUE  # nothing stands on rung 1


@pytest.mark.parametrize("key", ["run", "tick", "epoch", "value", "last", "seconds"])
@pytest.mark.parametrize("ended", [False, True])
def test_an_absent_metric_is_an_error(tmp_path: Path, key: str, ended: bool):
    search = Search(tmp_path)
    report = said("a", 1, 1.0, 1.0, 1.0)
    del report[key]
    hears = search.scheduler.on_trial_complete if ended else search.scheduler.on_trial_result
    with pytest.raises(ValueError, match=f"reported no {key}"):
        hears(None, search.trial("a"), report)


def test_a_run_that_ends_by_itself_counts_at_its_rung(tmp_path: Path):
    search = Search(tmp_path)
    search.end("failed", 1, math.nan, math.nan)
    search.end("patient", 3, 1.0)
    assert [(row["run"], row["decision"]) for row in search.events()] == [("failed", "end"), ("patient", "end")]
    assert search.report("a", 3, 2.0) == STOP
    again = Search(tmp_path, history=decisions(results.Storage(str(tmp_path)), "search"))
    assert again.scheduler.halving.standing == search.scheduler.halving.standing


def test_what_was_decided_stands(tmp_path: Path):
    """Runs of an earlier attempt that report again, from a checkpoint or from their beginning, get the same answers."""
    search = Search(tmp_path)
    for run, epoch, best in (("a", 1, 1.0), ("b", 1, 2.0), ("a", 3, 0.9), ("c", 1, 0.5), ("c", 3, 0.95)):
        search.report(run, epoch, best)
    search.report("a", 4, 0.9, math.nan)
    before = search.events()
    again = Search(tmp_path, history=decisions(results.Storage(str(tmp_path)), "search"))
    assert again.report("b", 1, 2.0) == STOP
    assert again.report("c", 1, 0.5) == CONTINUE  # stopped at 3, trained again
    assert again.report("c", 3, 0.95) == STOP
    assert [again.report("a", epoch, 0.9) for epoch in (1, 2, 3)] == [CONTINUE] * 3
    assert again.report("a", 4, 0.9, math.nan) == STOP
    assert len(again.events()) == len(before)


SEEDS = {"a0": "a", "a1": "a", "b0": "b", "b1": "b"}


def test_the_runs_of_a_configuration_stop_together_and_each_finds_its_stop_on_record(tmp_path: Path):
    search = Search(tmp_path, configurations=SEEDS)
    told = [search.report(run, 1, value) for run, value in (("a0", 1.0), ("a1", 3.0), ("b0", 2.5), ("b1", 2.5))]
    assert told == [CONTINUE] * 4  # b0 is at work on epoch 2 when b1 comes
    assert [search.report(run, 2, 0.0) for run in ("b0", "b1")] == [STOP] * 2
    rows = search.events()
    stops = [(row["run"], row["tick"], row["epoch"], row["value"]) for row in rows if row["decision"] == "stop"]
    assert stops == [("b0", 2, 2.0, 2.5), ("b1", 1, 2.0, 2.5)]
    details = [json.loads(row["detail"]) for row in rows]
    assert [(detail["of"], detail["mean"]) for detail in details] == [
        *((0, None), (2, 2.0), (2, 2.0)),
        *((0, None), (2, 2.5), (2, 2.5)),
    ]
    again = Search(tmp_path, history=decisions(results.Storage(str(tmp_path)), "search"), configurations=SEEDS)
    assert again.scheduler.halving.standing == search.scheduler.halving.standing
    assert [again.report(run, epoch, 9.0) for run in ("b0", "a1") for epoch in (1, 2)] == [
        *(CONTINUE, STOP),
        *(CONTINUE, CONTINUE),
    ]


def test_a_run_that_gives_its_slot_away_has_not_ended(tmp_path: Path):
    search = Search(tmp_path, configurations=SEEDS)
    for run, value in (("a0", 1.0), ("a1", 3.0), ("b0", 2.5), ("b1", 2.5)):
        search.scheduler.on_trial_complete(None, search.trial(run), said(run, 1, value, 0.0, 1.0) | {"waits": True})
    rows = [(row["run"], row["epoch"], row["decision"]) for row in search.events() if row["decision"] != "continue"]
    assert rows == [("b0", 1.0, "stop"), ("b1", 1.0, "stop")]  # nobody trained beyond the rung


def test_a_mean_that_is_not_finite_is_on_record_as_no_number(tmp_path: Path):
    search = Search(tmp_path, configurations=SEEDS)
    assert search.report("a0", 1, 1.0) == CONTINUE
    assert search.report("a1", 1, math.nan, math.nan) == STOP
    assert search.report("a0", 2, 1.0) == STOP
    assert [json.loads(row["detail"])["mean"] for row in search.events()] == [None] * 3
    again = Search(tmp_path, history=decisions(results.Storage(str(tmp_path)), "search"), configurations=SEEDS)
    assert again.scheduler.halving.standing == search.scheduler.halving.standing


def test_configurations_are_runs_that_differ_by_their_seeds_alone():
    config = ZOO["vqvae"]
    configs = {
        f"{beta}-{seed}": override(
            config, {"model.beta": beta, "seed": seed, "data.labels": 20, "data.label_seed": seed}
        )
        for beta in (0.1, 0.5)
        for seed in (3, 4)
    }
    configs["alone"] = override(config, {"model.beta": 2.0})
    found = configurations(configs)
    assert found == {"0.1-3": "0.1-3", "0.1-4": "0.1-3", "0.5-3": "0.5-3", "0.5-4": "0.5-3"}
