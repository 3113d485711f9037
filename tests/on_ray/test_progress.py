"""What a search tells of its progress."""

import math
from types import SimpleNamespace

import pytest
from ray.tune.experiment import Trial

from gen.config import EvaluateConfig
from gen.on_ray import progress
from gen.on_ray.leaders import Measuring
from gen.on_ray.progress import Standing, Teller
from gen.on_ray.proposals import Listing
from gen.on_ray.replay import End
from gen.on_ray.search import evaluations
from jobs.progress import duration, line, measured


def test_a_search_that_a_limit_alone_ends_tells_neither_a_number_of_runs_nor_a_time():
    heard: list[Standing] = []

    class Endless(Listing):
        endless = True

    lease = SimpleNamespace(check=lambda: None)
    teller = Teller(heard.append, Endless(dict.fromkeys("ab")), {}, lease, mode="min", every=1, expected=9.0)
    trial = SimpleNamespace(status=Trial.TERMINATED, last_result={"run": "a", "epoch": 1.0, "value": 0.5, "ended": ""})
    teller.on_trial_result(0, [], trial, trial.last_result)
    teller.on_trial_complete(0, [trial], trial)
    teller.tell()
    assert heard[-1].runs == math.inf
    assert (
        line(heard[-1]).partition(" s  ")[2]
        == "0 running, 0 finished, 1 stopped, 0 failed; best 0.5 (run a)  (1 ended)"
    )


def test_counts_the_best_and_the_time_left(monkeypatch: pytest.MonkeyPatch):
    clock = SimpleNamespace(monotonic=lambda: clock.now, now=100.0)
    monkeypatch.setattr(progress, "time", clock)
    heard: list[Standing] = []
    record = {"old": End(4, 4.0, "finished", 0.7, 0.8, 9.0)}
    lease = SimpleNamespace(check=lambda: None)
    runs = ["old", "a", "b", "c", "d"]
    teller = Teller(heard.append, Listing(dict.fromkeys(runs)), record, lease, mode="min", every=1, expected=2.0)
    trials = {run: SimpleNamespace(status=Trial.RUNNING, last_result={}) for run in runs[1:]}

    def tick(run: str, epoch: float, value: float, ended: str = "") -> None:
        result = {"run": run, "epoch": epoch, "value": value, "ended": ended}
        trials[run].last_result = result
        teller.on_trial_result(0, [], trials[run], result)

    def ends(run: str) -> None:
        trials[run].status = Trial.TERMINATED
        teller.on_trial_complete(0, list(trials.values()), trials[run])

    clock.now += 10
    tick("a", 1.0, 0.9)
    teller.on_step_end(0, list(trials.values()))
    left = pytest.approx((2 + 3 * 3) * 10)
    assert heard[-1] == Standing(5, {"finished": 1}, 4, 0.7, "old", 10.0, left, ticks=1)
    ends("a")  # no word of its own: the scheduler stopped it
    assert heard[-1].news == "run a stopped at epoch 1: 0.9"
    tick("b", 1.0, 0.5)
    tick("b", 2.0, math.nan, "failed")
    ends("b")
    trials["c"].status = Trial.ERROR
    teller.on_trial_error(0, [], trials["c"])
    told = heard[-1]
    assert told.ended == {"finished": 1, "stopped": 1, "failed": 1, "broken": 1}
    assert (told.done, told.best, told.best_run) == (4, 0.5, "b")
    text = line(Standing(5, told.ended, 1, 0.5, "b", 12.0, 200.0))
    states = "1 running, 1 finished, 1 stopped, 1 failed, 1 broken"
    assert text == f"  12.0 s  {states}; about 3 min left; best 0.5 (run b)  (4 of 5)"
    count = len(heard)
    teller.on_step_end(0, [])
    assert len(heard) == count  # it told a moment ago
    clock.now += progress.QUIET
    teller.on_step_end(0, [])
    assert len(heard) == count + 1


def test_no_time_is_left_when_all_have_ended_even_if_one_broke_before_its_first_tick():
    heard: list[Standing] = []
    lease = SimpleNamespace(check=lambda: None)
    teller = Teller(heard.append, Listing(dict.fromkeys("ab")), {}, lease, mode="min", every=1, expected=9.0)
    first, second = (SimpleNamespace(status=Trial.RUNNING, last_result={}) for _ in range(2))
    first.last_result = {"run": "a", "epoch": 1.0, "value": 1.0, "ended": "finished"}
    teller.on_trial_result(0, [], first, first.last_result)
    teller.on_trial_complete(0, [first, second], first)
    assert heard[-1].left > 0
    teller.on_trial_error(0, [first, second], second)
    assert heard[-1].done == 2
    assert math.isnan(heard[-1].left)


def test_the_best_so_far_has_a_rank():
    """Neither a run that is ranked no more nor one below the floor of its config is the best, were it the only one."""
    heard: list[Standing] = []
    lease = SimpleNamespace(check=lambda: None)
    record = {"gone": End(4, 4.0, "finished", 0.1, 0.1, 9.0), "low": End(4, 4.0, "finished", 1e30, 1e30, 9.0)}
    runs = Listing(dict.fromkeys(["gone", "low", "a"]))
    teller = Teller(heard.append, runs, record, lease, mode="min", every=1, expected=2.0, unranked={"gone": "why"})
    teller.tell()
    assert (math.isnan(heard[-1].best), heard[-1].best_run) == (True, "")
    trial = SimpleNamespace(status=Trial.RUNNING, last_result={"run": "a", "epoch": 1.0, "value": 0.5})
    teller.on_trial_result(0, [trial], trial, trial.last_result)
    teller.tell()
    assert (heard[-1].best, heard[-1].best_run, heard[-1].done) == (0.5, "a", 2)


def test_durations():
    assert [duration(value) for value in (40.4, 1000, 12000)] == ["40 s", "17 min", "3 h 20 min"]


def test_measuring_the_leaders_is_told_and_is_in_the_time_left(monkeypatch: pytest.MonkeyPatch):
    clock = SimpleNamespace(monotonic=lambda: clock.now, now=0.0)
    monkeypatch.setattr(progress, "time", clock)
    heard: list[Standing] = []
    lease = SimpleNamespace(check=lambda: None)
    teller = Teller(
        heard.append, Listing(dict.fromkeys("ab")), {}, lease, mode="min", every=1, expected=1.0, measuring=30.0
    )
    trial = SimpleNamespace(status=Trial.RUNNING, last_result={})
    clock.now += 10
    for run in "ab":
        trial.last_result = {"run": run, "epoch": 1.0, "value": 1.0, "ended": "finished", "evaluated": 2.0}
        teller.on_trial_result(0, [], trial, trial.last_result)
        teller.on_trial_complete(0, [trial], trial)
        assert heard[-1].left == pytest.approx(10 + 30 * 2.0 if run == "a" else math.nan, nan_ok=True)
    asked = EvaluateConfig(full="leaders", leaders=5, full_images=1000)
    assert evaluations(asked, runs=64, at_once=2, images=1600) == 3 * 2 * 1000 / 200
    assert (
        evaluations(asked, runs=64, at_once=2, images=1600, seeds=4) == 4 * 2 * 1000 / 200
    )  # two whole configurations
    assert evaluations(asked, runs=64, at_once=1, images=1600, seeds=7) == 7 * 2 * 1000 / 200
    assert evaluations(asked, runs=6, at_once=1, images=1600, seeds=4) == 6 * 2 * 1000 / 200
    assert evaluations(EvaluateConfig(full="all"), runs=64, at_once=2, images=1600) == 0
    now = Measuring("abc", 3, 2, 5, 66.0, "precision of 1,000 fakes, test")
    said = "measuring run 3 of 5: precision of 1,000 fakes, test (run abc); about 66 s left"
    assert measured(now, "leaders") == said
    assert measured(Measuring("abc", 3, 0, 5, math.nan), "leaders") == "measured 0 of 5 leaders: run abc"
