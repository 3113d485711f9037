"""Successive halving: decisions on record before they take effect, and no value that escapes them."""

import json
import math
from pathlib import Path

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from gen import results
from gen.engine.on_ray.scheduler import RecordedHalving


class Search:
    """A scheduler with trials that report to it."""

    def __init__(self, folder: Path, mode: str = "min") -> None:
        self.place = str(folder)
        slot = results.Slot(results.Storage(self.place), "search", "attempt-scheduler")
        self.scheduler = RecordedHalving(slot, "search", "attempt", mode, epochs=9, grace=1, reduction=3)
        self.trials: dict[str, Trial] = {}

    def report(self, run: str, epoch: float, value: float | None, **more: object) -> str:
        if run not in self.trials:
            self.trials[run] = Trial("Resident", stub=True)
            self.scheduler.on_trial_add(None, self.trials[run])
        result = {"tick": int(epoch), "epoch": epoch, "value": value, "run": run, **more}
        return self.scheduler.on_trial_result(None, self.trials[run], result)

    def events(self) -> list[dict]:
        return results.events(self.place, "search", kind="rung").to_dict("records")


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_losers_stop_and_every_decision_is_on_record(tmp_path: Path, mode: str, sign: int):
    search = Search(tmp_path, mode)
    assert search.report("a", 1, sign * 1.0) == TrialScheduler.CONTINUE
    assert search.report("b", 1, sign * 2.0) == TrialScheduler.STOP
    assert search.report("c", 1, sign * 0.5) == TrialScheduler.CONTINUE
    assert search.report("a", 2, sign * 5.0) == TrialScheduler.CONTINUE  # no rung
    assert [(row["run"], row["decision"], row["value"]) for row in search.events()] == [
        ("a", "continue", sign * 1.0),
        ("b", "stop", sign * 2.0),
        ("c", "continue", sign * 0.5),
    ]
    details = [json.loads(row["detail"]) for row in search.events()]
    assert [detail["rung"] for detail in details] == [1, 1, 1]
    assert details[0]["cutoff"] is None
    assert details[1]["cutoff"] == pytest.approx(sign * 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_what_is_not_finite_ends_its_trial_and_counts_as_the_worst(tmp_path: Path, value: float | None):
    search = Search(tmp_path)
    assert search.report("a", 1, value) == TrialScheduler.STOP
    assert search.report("b", 1, 1e6) == TrialScheduler.CONTINUE  # better than what is not finite
    assert search.report("c", 1, 1e6) == TrialScheduler.CONTINUE
    assert search.report("d", 1, 2e6) == TrialScheduler.STOP
    assert search.report("b", 2, value) == TrialScheduler.STOP  # between rungs too
    assert "not finite" in search.events()[0]["why"]


def test_a_late_value_fills_no_earlier_rung(tmp_path: Path):
    search = Search(tmp_path)
    search.report("late", 3, 1.0)
    search.report("late", 4, 0.1)
    assert search.report("first", 1, 7.0) == TrialScheduler.CONTINUE  # nothing stands on rung 1


def test_a_replayed_run_fills_rungs_and_is_not_judged_again(tmp_path: Path):
    search = Search(tmp_path)
    for run, value in (("a", 1.0), ("b", 9.0)):
        assert search.report(run, 1, value, replayed=True) == TrialScheduler.CONTINUE
    assert search.report("c", 1, 8.0) == TrialScheduler.STOP
    assert [row["run"] for row in search.events()] == ["c"]


def test_an_absent_metric_is_an_error(tmp_path: Path):
    search = Search(tmp_path)
    search.report("a", 1, 1.0)
    with pytest.raises(ValueError, match="reported no value"):
        search.scheduler.on_trial_result(None, search.trials["a"], {"epoch": 2, "run": "a", "tick": 2})
